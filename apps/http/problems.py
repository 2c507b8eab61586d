"""Errors as answers: what may be told to a client, in one shape (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, ValidationError
from django.db import OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError
from ninja.errors import ValidationError as SchemaError

from apps.http.request_id import current

log = logging.getLogger(__name__)

TYPES = "/problems/"


class Refused(Exception):
    """What was asked cannot be done, and the person who asked may be told why.

    code: stable, for programs. detail: a translated sentence that says what would be right.
    status: 409 where the world is in the way, 422 where the request itself is wrong.
    pointer: the JSON pointer or form field at fault, if there is one.
    retry_after_s: when the same request may be let through.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 422,
        pointer: str = "",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.status, self.pointer = code, detail, status, pointer
        waits = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        self.headers: Mapping[str, str] = waits


def problem(
    code: str,
    detail: str,
    *,
    status: int,
    title: str = "",
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JsonResponse:
    """An `application/problem+json` answer."""
    body: dict[str, Any] = {
        "type": f"{TYPES}{code}",
        "title": title or code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": current.get(),
    }
    if errors:
        body["errors"] = list(errors)
    return JsonResponse(
        body, status=status, content_type="application/problem+json", headers=headers
    )


def refused(error: Refused) -> JsonResponse:
    """The answer to a refusal."""
    errors = [{"pointer": error.pointer, "code": error.code}] if error.pointer else []
    return problem(
        error.code, error.detail, status=error.status, errors=errors, headers=error.headers
    )


def install(api: NinjaAPI) -> None:
    """Teach an API the one table of exceptions."""

    @api.exception_handler(Refused)
    def on_refused(request: HttpRequest, error: Refused) -> JsonResponse:
        return refused(error)

    @api.exception_handler(SchemaError)
    def on_schema(request: HttpRequest, error: SchemaError) -> JsonResponse:
        errors = [
            {
                "pointer": "/" + "/".join(str(part) for part in one["loc"][1:]),
                "code": str(one["type"]),
                "detail": str(one["msg"]),
            }
            for one in error.errors
        ]
        said = "; ".join(f"{one['pointer']}: {one['detail']}" for one in errors[:3])
        return problem("invalid_request", said, status=422, errors=errors)

    @api.exception_handler(ValidationError)
    def on_validation(request: HttpRequest, error: ValidationError) -> JsonResponse:
        by_field = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        errors = [
            {"pointer": f"/{field}" if field != "__all__" else "", "code": "invalid", "detail": m}
            for field, messages in by_field.items()
            for m in messages
        ]
        said = "; ".join(f"{one['pointer']}: {one['detail']}".strip(": ") for one in errors[:3])
        return problem("invalid_request", said, status=422, errors=errors)

    @api.exception_handler(Http404)
    def on_missing(request: HttpRequest, error: Http404) -> JsonResponse:
        return not_found()

    @api.exception_handler(AuthenticationError)
    def on_unknown(request: HttpRequest, error: AuthenticationError) -> JsonResponse:
        return unauthenticated()

    @api.exception_handler(PermissionDenied)
    def on_denied(request: HttpRequest, error: PermissionDenied) -> JsonResponse:
        return problem("forbidden", str(error) or _("This is not yours to do."), status=403)

    @api.exception_handler(OperationalError)
    def on_database(request: HttpRequest, error: OperationalError) -> JsonResponse:
        log.warning("no database: %s", error, extra={"action": "database_away"})
        return database_away()

    @api.exception_handler(Exception)
    def on_bug(request: HttpRequest, error: Exception) -> JsonResponse:
        log.exception("unforeseen", extra={"action": "request_failed", "path": request.path})
        return internal_error()

    api.add_exception_handler(HttpError, _on_http)
    api.add_exception_handler(RequestDataTooBig, _on_too_big)


def _on_http(request: HttpRequest, error: Exception | type[Exception]) -> JsonResponse:
    assert isinstance(error, HttpError)
    if isinstance(error.__cause__, Refused):  # what a body was refused for
        return refused(error.__cause__)
    return problem("bad_request", str(error), status=error.status_code)


def _on_too_big(request: HttpRequest, error: Exception | type[Exception]) -> JsonResponse:
    said = _("The request is too large; put large files into a package.")
    return problem("too_large", said, status=413)


def unauthenticated() -> JsonResponse:
    """The answer to a missing, unknown, revoked or expired token."""
    return problem(
        "unauthenticated",
        _("A valid token is needed: Authorization: Bearer rgt_…"),
        status=401,
        headers={"WWW-Authenticate": "Bearer"},
    )


def not_found() -> JsonResponse:
    """The answer where nothing is, or nothing that the caller may know of."""
    return problem("not_found", _("There is no such thing here."), status=404)


def method_not_allowed(allowed: str) -> JsonResponse:
    """The answer to a method that an address does not take."""
    said = _("This address takes %(methods)s.") % {"methods": allowed}
    return problem("method_not_allowed", said, status=405, headers={"Allow": allowed})


def database_away() -> JsonResponse:
    """The answer while PostgreSQL cannot be reached."""
    said = _("The database is away; nothing was changed. Try again soon.")
    return problem("database_away", said, status=503, headers={"Retry-After": "2"})


def internal_error() -> JsonResponse:
    """The answer to a bug of ours."""
    said = _("Something went wrong on our side; it was logged under this request_id.")
    return problem("internal_error", said, status=500)


class Problem(Schema):
    """RFC 9457 problem details, as every error is answered."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[dict[str, str]] | None = None


PROBLEMS: dict[int, type[Problem]] = dict.fromkeys(
    (400, 401, 403, 404, 409, 413, 415, 422, 429), Problem
)
