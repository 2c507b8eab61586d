"""The plan explorer: every way to run a step of a model on some chips, and the best of them."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.http.pages import render_page


@access(Scope.CLUSTERS_READ)
@require_GET
def explore(request: PortalRequest) -> HttpResponse:
    """Ask for plans, and see them; the address carries all that was asked."""
    return render_page(request, "advisor/explore.html", {})
