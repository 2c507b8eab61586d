"""A request with an `Idempotency-Key` takes effect once, however often it is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja.operation import Operation

from apps.http.models import KeptAnswer
from apps.http.problems import problem

_KEPT_HEADERS = ("Location", "Content-Type")
View = Callable[..., HttpResponse]


class _Undo(Exception):
    """Rolls back a request that did not succeed, so that its key stays free."""


def idempotent(view: View) -> View:
    """Answer a repeated key with the first answer, and a key with another body with 422.

    The kept answer and the view's own writes are one transaction. Of two at once the second
    waits for the first at the unique index. Only successes are kept: after an error nothing has
    changed, and the same key may be used for the mended request.
    """

    @wraps(view)
    def once(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        key = request.headers.get("Idempotency-Key", "")
        if not key:
            return view(request, *args, **kwargs)
        if len(key) > 255:
            return problem(
                "bad_idempotency_key",
                _("Idempotency-Key must have at most 255 characters."),
                status=400,
            )
        response: list[HttpResponse] = []
        try:
            with transaction.atomic():
                response.append(_first_or_kept(request, key, view, *args, **kwargs))
                if response[0].status_code >= 300:
                    raise _Undo
        except _Undo:
            pass
        return response[0]

    return once


def _first_or_kept(
    request: HttpRequest, key: str, view: View, *args: Any, **kwargs: Any
) -> HttpResponse:
    # The view itself checks the token, after this. "Bearer" is the same in any letters.
    _scheme, _sep, token = request.headers.get("Authorization", "").partition(" ")
    asked = hashlib.sha256(token.encode()).hexdigest()
    body = hashlib.sha256(request.body).hexdigest()
    route = f"{request.method} {request.path}"[:200]
    KeptAnswer.objects.bulk_create(
        [KeptAnswer(owner=asked, key=key, route=route, body_sha256=body)], ignore_conflicts=True
    )
    kept = KeptAnswer.objects.select_for_update().get(owner=asked, key=key)
    if kept.status:
        return _not_allowed(request, view) or _again(kept, route=route, body=body)
    response = view(request, *args, **kwargs)
    kept.status, kept.body = response.status_code, response.content.decode()
    kept.headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
    kept.save()
    return response


def _not_allowed(request: HttpRequest, view: View) -> HttpResponse | None:
    """The refusal of who may not ask any more; an operation checks that only when it runs."""
    operation = getattr(view, "__self__", None)
    if not isinstance(operation, Operation):
        return None
    refusal: HttpResponse | None = operation._run_checks(request)
    return refusal


def _again(kept: KeptAnswer, *, route: str, body: str) -> HttpResponse:
    if (kept.route, kept.body_sha256) != (route, body):
        return problem(
            "idempotency_key_reused",
            _("This Idempotency-Key was used for another request; choose a new one."),
            status=422,
        )
    response = HttpResponse(kept.body, status=kept.status, headers=kept.headers)
    response["Idempotent-Replayed"] = "true"
    return response
