"""The shell's own pages: where a reader starts, and in which language."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe
from django.views.i18n import set_language

from apps.accounts import selectors
from apps.accounts.access import PUBLIC, SIGNED_IN, access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.http.pages import render_page
from apps.web import overview


@access(SIGNED_IN)
@require_safe
def start(request: PortalRequest) -> HttpResponse:
    """Go to the team that was open last, or to the first."""
    teams = selectors.teams_of(request.user)
    last = teams.filter(slug=request.session.get("team", "")).first() or teams.first()
    if last is None:
        return render_page(request, "web/no_team.html")
    return redirect("web:home", last.slug)


@access(Scope.TEAM_READ)
@require_safe
def home(request: PortalRequest) -> HttpResponse:
    """What runs, what waits, what needs somebody, what it costs."""
    if request.session.get("team") != request.team.slug:
        request.session["team"] = request.team.slug
    seen = overview.seen(request.team, request.user, request.scopes)
    return render_page(request, "web/home.html", {"seen": seen}, part="now")


@access(PUBLIC)
@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Show pages in another language from now on."""
    return set_language(request)
