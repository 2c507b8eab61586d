"""Errors of addresses outside the API's operations: as a page, or under /api/ as a problem."""

from __future__ import annotations

import sys

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.defaults import bad_request as bad_request_page
from django.views.defaults import page_not_found

from apps.http import problems, request_id


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that nothing of the portal sends."""
    if request.path.startswith("/api/"):
        said = _("The request cannot be read; look at its address, headers and size.")
        return problems.problem("bad_request", said, status=400)
    return bad_request_page(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """No such address, or nothing of the reader's there."""
    if request.path.startswith("/api/"):
        return problems.not_found()
    return page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """A bug of ours, or a database that is away; the log has it under the request's id.

    Rendered without the request: nothing here may ask the database again.
    """
    away = isinstance(sys.exc_info()[1], OperationalError)
    if request.path.startswith("/api/"):
        return problems.database_away() if away else problems.internal_error()
    page = render_to_string("500.html", {"request_id": request_id.current.get(), "away": away})
    headers = {"Retry-After": "2"} if away else {}
    return HttpResponse(page, status=503 if away else 500, headers=headers)
