"""Pages about people: signing in and out, members of a team, API tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import selectors, services
from apps.accounts.access import PUBLIC, SIGNED_IN, access
from apps.accounts.forms import InviteForm, LinkForm, SignInForm, TokenForm
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Role, Scope
from apps.http.pages import refuse, render_page
from apps.http.paging import page
from apps.http.problems import Refused

_BACKEND = "django.contrib.auth.backends.ModelBackend"


@access(PUBLIC)
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    form = SignInForm(request.POST or None)
    wanted = request.POST.get("next") or request.GET.get("next", "")
    status: int = 200
    headers: Mapping[str, str] = {}
    if form.is_valid():
        try:
            user = services.sign_in(request, **form.cleaned_data)
        except Refused as error:
            form.add_error(None, error.detail)
            status, headers = error.status, error.headers
        else:
            login(request, user, backend=_BACKEND)
            return redirect(wanted if _is_ours(request, wanted) else settings.LOGIN_REDIRECT_URL)
    context = {"form": form, "next": wanted}
    answer = render_page(request, "accounts/sign_in.html", context, status=status)
    for name, value in headers.items():
        answer[name] = value
    return answer


@access(SIGNED_IN)
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("accounts:sign_in")


@access(PUBLIC)
@never_cache
@sensitive_post_parameters("password", "again")
@require_http_methods(["GET", "POST"])
def link(request: HttpRequest, code: str) -> HttpResponse:
    """GET shows whom the link lets in, so that a preview or a crawler does not use it up."""
    found = selectors.open_link(code)
    form = LinkForm(request.POST or None)
    if found is not None and request.method == "POST" and form.is_valid():
        try:
            user = services.use_link(code, password=form.cleaned_data["password"])
        except ValidationError as error:
            form.add_error("password", error)
        except Refused:
            found = None
        else:
            login(request, user, backend=_BACKEND)
            return redirect(settings.LOGIN_REDIRECT_URL)
    context = {
        "link": found,
        "form": form,
        "teams": selectors.teams_of(found.user) if found else [],
    }
    return render_page(request, "accounts/link.html", context, status=200 if found else 410)


@access(Scope.TEAM_READ, write=Scope.TEAM_WRITE)
@require_http_methods(["GET", "POST"])
def team(request: PortalRequest) -> HttpResponse:
    """Members, how to invite one, and what happened."""
    form = InviteForm(request.POST or None)
    invitation = ""
    if form.is_valid():
        try:
            who, code = services.invite(
                team=request.team, actor=request.actor, **form.cleaned_data
            )
        except Refused as error:
            refuse(form, error)
        except ValidationError as error:
            form.add_error(None, error.messages[0])
        else:
            messages.success(request, _("%(who)s is in the team now.") % {"who": who})
            invitation = request.build_absolute_uri(reverse("accounts:link", args=[code]))
            invitation = invitation if code else ""
            form = InviteForm()
    context = {
        "form": form,
        "invitation": invitation,
        "members": selectors.members(request.team),
        "roles": Role.choices,
        "record": page(selectors.audit_record(request.team), cursor=_cursor(request), limit=30),
    }
    return render_page(
        request, "accounts/team.html", context, part="record", status=422 if form.errors else 200
    )


@access(Scope.TEAM_WRITE)
@require_POST
def member(request: PortalRequest, pk: int) -> HttpResponse:
    """Give a member another role, or take them out."""
    found = get_object_or_404(selectors.members(request.team), pk=pk)
    role = None if "remove" in request.POST else request.POST.get("role", "")
    try:
        services.change_role(found, role=role, actor=request.actor)
    except Refused as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, _("Saved."))
    return redirect("accounts:team", request.team.slug)


@access(Scope.TEAM_READ, write=Scope.TOKENS_WRITE)
@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: PortalRequest) -> HttpResponse:
    """The reader's own API tokens; a new one's secret is on the answer and nowhere else."""
    form = TokenForm(request.POST or None, held=[scope.value for scope in request.scopes])
    secret = ""
    if form.is_valid():
        try:
            _row, secret = services.create_token(
                user=request.user, team=request.team, actor=request.actor, **form.cleaned_data
            )
        except Refused as error:
            refuse(form, error)
    context: dict[str, Any] = {
        "form": form,
        "secret": secret,
        "tokens": selectors.tokens(request.team, user=request.user),
        "address": settings.REGATTA_URL,
    }
    return render_page(
        request, "accounts/tokens.html", context, status=422 if form.errors else 200
    )


@access(Scope.TOKENS_WRITE)
@require_POST
def revoke(request: PortalRequest, pk: int) -> HttpResponse:
    """End a token at once: one's own, or as an owner anybody's."""
    owner = Scope.TEAM_WRITE in request.scopes
    mine = selectors.tokens(request.team, user=None if owner else request.user)
    services.revoke_token(get_object_or_404(mine, pk=pk), actor=request.actor)
    messages.success(request, _("The token does not work any more."))
    return redirect("accounts:tokens", request.team.slug)


def _cursor(request: HttpRequest) -> str | None:
    return request.GET.get("after") or None


def _is_ours(request: HttpRequest, url: str) -> bool:
    return url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
