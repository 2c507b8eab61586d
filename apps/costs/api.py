"""Endpoints about prices and costs."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from ninja import Router, Status
from ninja.decorators import decorate_view

from apps.accounts.access import allow
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.clusters import selectors as clusters
from apps.costs import selectors, services
from apps.costs.models import PriceInterval
from apps.costs.schemas import ClusterCostOut, PriceIn, PriceOut, SummaryOut
from apps.http.idempotency import idempotent
from apps.http.problems import PROBLEMS

router = Router(tags=["costs"])


@router.get("/prices", auth=allow(Scope.COST_READ), response={200: list[PriceOut], **PROBLEMS})
def list_prices(request: PortalRequest) -> list[dict[str, Any]]:
    """The team's own prices, which go first, and those of everywhere, with their history."""
    return [_price(row) for row in selectors.price_rows(request.team.pk)]


@router.post("/prices", auth=allow(Scope.COST_WRITE), response={201: PriceOut, **PROBLEMS})
@decorate_view(idempotent)
def set_price(request: PortalRequest, body: PriceIn) -> Status[dict[str, Any]]:
    """A new price of the team; it closes the one before and changes nothing in the past."""
    row = services.set_price(team=request.team, actor=request.actor, **body.dict())
    return Status(201, _price(row))


@router.get("/costs/summary", auth=allow(Scope.COST_READ), response={200: SummaryOut, **PROBLEMS})
def summary(request: PortalRequest) -> selectors.Summary:
    """What the team spends per hour now and has spent this month."""
    return selectors.summary(request.team.pk)


@router.get(
    "/costs/clusters/{int:pk}",
    auth=allow(Scope.COST_READ),
    response={200: ClusterCostOut, **PROBLEMS},
)
def cluster_cost(request: PortalRequest, pk: int) -> dict[str, Any]:
    """What a cluster has cost, and how much of it went to jobs."""
    if clusters.team_id(pk) != request.team.pk:
        raise Http404
    books = selectors.cluster_books(pk)
    return {
        "cluster_id": pk,
        "usd": books.total.usd,
        "known_usd": books.total.known_usd,
        "jobs_usd": books.jobs.usd,
        "idle_usd": books.idle_usd,
        "gaps": books.total.gaps,
    }


def _price(row: PriceInterval) -> dict[str, Any]:
    names = ["id", "kind", "usd_per_hour", "from_at", "to_at", "basis", "note"]
    return {name: getattr(row, name) for name in names} | {"everywhere": row.team_id is None}
