"""Pages about prices and costs, and the fragments that other pages hold by their address."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.http import Http404, HttpResponse
from django.views.decorators.http import require_GET

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.clusters import selectors as clusters
from apps.costs import selectors
from apps.costs.models import Basis
from apps.http.pages import render_page

_HOURS_A_MONTH = 730  # 365 days in twelve parts
_MOST_NODES = 10_000


@access(Scope.COST_READ)
@require_GET
def overview(request: PortalRequest) -> HttpResponse:
    """What the team spends, on which cluster, at which prices."""
    summary = selectors.summary(request.team.pk)
    names = clusters.names(list(summary.by_cluster))
    newest_first = sorted(summary.by_cluster.items(), reverse=True)
    books = [{"pk": pk, "name": names[pk], "month": books} for pk, books in newest_first]
    context = {
        "summary": summary,
        "books": books,
        "prices": selectors.price_rows(request.team.pk),
        "sample": Basis.SAMPLE,
    }
    return render_page(request, "costs/overview.html", context)


@access(Scope.COST_READ)
@require_GET
def cluster(request: PortalRequest, pk: int) -> HttpResponse:
    """What one cluster has cost so far, and what of it no job used."""
    if clusters.team_id(pk) != request.team.pk:
        raise Http404
    books = selectors.cluster_books(pk)
    part = request.GET.get("form", "")
    context = {"books": books, "form": part if part in {"cell", "stat"} else "card"}
    return render_page(request, "costs/cluster.html", context, part="cost")


@access(Scope.COST_READ)
@require_GET
def estimate(request: PortalRequest) -> HttpResponse:
    """What a cluster with a head and these workers would cost, for the form that asks."""
    workers = _number(request.GET.get("workers", ""))
    provider = request.GET.get("provider", "local")[:80]
    chip = request.GET.get("node_chip", "").strip()[:80]
    kinds: dict[str, Decimal] = {clusters.node_kind(provider): Decimal(1)}
    worker = clusters.node_kind(provider, chip)
    kinds[worker] = kinds.get(worker, Decimal(0)) + (workers or 0)
    hourly = None if workers is None else selectors.hourly_usd(kinds, team_id=request.team.pk)
    context: dict[str, Any] = {
        "nodes": None if workers is None else workers + 1,
        "hourly": hourly,
        "monthly": None if hourly is None else hourly * _HOURS_A_MONTH,
        "kinds": sorted(kinds),
        "form": request.GET.get("form", ""),
    }
    return render_page(request, "costs/estimate.html", context, part="estimate")


def _number(text: str) -> int | None:
    known = text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= _MOST_NODES
    return int(text) if known else None
