"""One address, one view, one template: the page, or the part of it that htmx asked for."""

from __future__ import annotations

from typing import Any, cast

from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails

from apps.http.problems import Refused


def render_page(
    request: HttpRequest,
    template: str,
    context: dict[str, Any] | None = None,
    *,
    part: str | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render `template`, or for htmx its partial `part` alone (not for its history)."""
    htmx = cast("HtmxDetails", getattr(request, "htmx", None))
    name = f"{template}#{part}" if part and htmx and not htmx.history_restore_request else template
    response = render(request, name, context or {}, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def refuse(form: BaseForm, error: Refused) -> None:
    """Say a refusal at the form's field that it is about, or above the form."""
    field = error.pointer.strip("/").split("/")[0]
    form.add_error(field if field in form.fields else None, error.detail)
