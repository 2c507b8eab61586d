"""What a view or an operation asks of its caller.

Deny by default: the middleware refuses a view that declares nothing, and the API's own default
refuses an operation without `allow`.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from ninja.security import HttpBearer

from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.accounts.selectors import Caller, caller_of_token
from apps.http import limits

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LARGE_BYTES = 1 << 20  # a body above it is an upload


class Kind(StrEnum):
    """By what a view knows its caller."""

    PUBLIC = "public"  # not at all
    SIGNED_IN = "signed_in"  # a session
    TEAM = "team"  # a session, and a scope in the team that the address names
    ADMIN = "admin"  # a session of a platform admin
    BEARER = "bearer"  # an API token with a scope
    JOB = "job"  # the telemetry token of a live attempt, checked by the view itself
    API = "api"  # an API operation: `allow` checks it


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a view asks of its caller: `read` for safe methods, `write` for the others."""

    kind: Kind
    read: Scope | None = None
    write: Scope | None = None

    def scope(self, method: str | None) -> Scope | None:
        """The scope that a request with this method needs."""
        return self.read if method in _SAFE or self.write is None else self.write


PUBLIC = Access(kind=Kind.PUBLIC)
SIGNED_IN = Access(kind=Kind.SIGNED_IN)
ADMIN = Access(kind=Kind.ADMIN)
JOB = Access(kind=Kind.JOB)
API = Access(kind=Kind.API)

V = TypeVar("V", bound=Callable[..., Any])


def access(needs: Access | Scope, *, write: Scope | None = None) -> Callable[[V], V]:
    """Declare what a page needs; a `Scope` is one in the team of the page's address."""
    if isinstance(needs, Scope):
        needs = Access(kind=Kind.TEAM, read=needs, write=write)

    def declare(view: V) -> V:
        view.access = needs  # type: ignore[attr-defined]
        return view

    return declare


def bearer(read: Scope, *, write: Scope | None = None) -> Callable[[V], V]:
    """Declare that a plain view is reached by an API token and never by a cookie."""

    def declare(view: V) -> V:
        open_view: Any = csrf_exempt(view)  # no cookie is read, so there is nothing to forge
        open_view.access = Access(kind=Kind.BEARER, read=read, write=write)
        return cast("V", open_view)

    return declare


class allow(HttpBearer):
    """An API operation's declaration: a token that has this scope (None: any valid token)."""

    def __init__(self, scope: Scope | None) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        caller = caller_of_token(token)
        if caller is not None:
            admit(request, caller, self.scope)
        return caller


async def is_known(scope: MutableMapping[str, Any]) -> bool:
    """Whether an ASGI request comes with a token, or for a page with a session, that holds.

    Asked before a large body is read, so before any middleware; Django checks it again.
    """
    return await sync_to_async(_is_known, thread_sensitive=False)(ASGIRequest(scope, BytesIO()))


def _is_known(request: HttpRequest) -> bool:
    try:
        if request.path.startswith("/api/"):
            return caller_of_token(bearer_token(request)) is not None
        request.session = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
        return get_user(request).is_authenticated
    finally:
        connection.close()  # this thread's own


def admit(request: HttpRequest, caller: Caller, scope: Scope | None) -> None:
    """Put the caller into the request, or refuse one who asks too often or lacks `scope`.

    Raises: Refused (429); PermissionDenied, naming the scope.
    """
    _count(request, caller.actor)
    if scope is not None and scope not in caller.scopes:
        raise PermissionDenied(_("This needs the scope %(scope)s.") % {"scope": scope.value})
    portal = cast("PortalRequest", request)
    portal.user, portal.team = caller.user, caller.team
    portal.scopes, portal.actor = caller.scopes, caller.actor


def _count(request: HttpRequest, actor: str) -> None:
    said = request.META.get("CONTENT_LENGTH") or "0"
    large = (
        "Transfer-Encoding" in request.headers or not said.isdigit() or int(said) > _LARGE_BYTES
    )
    writes = "upload" if large else "write"
    limits.spend("read" if request.method in _SAFE else writes, actor)


def bearer_token(request: HttpRequest) -> str:
    """The token of the `Authorization` header, or an empty string.

    Ray's own clients also send it as `X-Ray-Authorization`, for proxies that eat the other.
    """
    given = request.headers.get("Authorization") or request.headers.get("X-Ray-Authorization", "")
    scheme, _sep, token = given.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
