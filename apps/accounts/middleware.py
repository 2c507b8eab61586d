"""The one place that lets requests in: it reads what the view declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _

from apps.accounts.access import ADMIN, API, Access, Kind, admit, bearer_token
from apps.accounts.models import User
from apps.accounts.selectors import caller_in_team, caller_of_token
from apps.http.problems import Refused, method_not_allowed, problem, refused, unauthenticated


class UndeclaredAccess(Exception):
    """A view says nothing of who may use it: nobody may, until it does."""


def declared(view: Callable[..., Any], namespaces: list[str]) -> Access:
    """What a view declares; the API's operations and the admin console do it in one place each.

    Raises: UndeclaredAccess.
    """
    needs = getattr(view, "access", None)
    if isinstance(needs, Access):
        return needs
    if namespaces[:1] == ["api"]:
        return API
    if namespaces[:1] == ["admin"]:
        return ADMIN
    raise UndeclaredAccess(f"{view.__module__}.{getattr(view, '__name__', view)}")


class AccessMiddleware:
    """Checks each request against its view's declaration, before the view runs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code == 405 and request.path.startswith("/api/"):
            response = method_not_allowed(response["Allow"])
        if not response.has_header("Cache-Control") and not _is_static(request):
            add_never_cache_headers(response)
        return response

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., Any],
        args: list[Any],
        kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        match = request.resolver_match
        needs = declared(view, match.namespaces if match else [])
        if needs.kind in {Kind.PUBLIC, Kind.JOB, Kind.API}:
            return None
        if needs.kind is Kind.BEARER:
            return _by_token(request, needs)
        user = request.user
        if not isinstance(user, User):
            return _to_sign_in(request)
        if needs.kind is Kind.ADMIN and not user.is_superuser:
            raise Http404
        if needs.kind is Kind.TEAM:
            caller = caller_in_team(user, kwargs.pop("team"))
            if caller is None:
                raise Http404
            try:
                admit(request, caller, needs.scope(request.method))
            except Refused as error:
                return HttpResponse(error.detail, status=error.status, headers=error.headers)
        return None


def _by_token(request: HttpRequest, needs: Access) -> HttpResponseBase | None:
    caller = caller_of_token(bearer_token(request))
    if caller is None:
        return unauthenticated()
    try:
        admit(request, caller, needs.scope(request.method))
    except Refused as error:
        return refused(error)
    except PermissionDenied as error:
        return problem("forbidden", str(error), status=403)
    return None


def _to_sign_in(request: HttpRequest) -> HttpResponseBase:
    if request.headers.get("HX-Request"):  # a fragment cannot show the sign-in page: reload all
        return HttpResponse(_("Please sign in again."), status=401, headers={"HX-Refresh": "true"})
    return redirect_to_login(request.get_full_path(), reverse("accounts:sign_in"))


def _is_static(request: HttpRequest) -> bool:
    return request.path.startswith("/static/")
