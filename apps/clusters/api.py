"""Endpoints about clusters and their nodes."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from ninja import Router, Status
from ninja.decorators import decorate_view

from apps.accounts.access import allow
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.clusters import selectors, services, texts
from apps.clusters.models import GIB, Cluster, Node
from apps.clusters.schemas import (
    ClusterIn,
    ClusterOut,
    ClusterPage,
    DesiredIn,
    EventPage,
    NodePage,
    SizeIn,
)
from apps.http.idempotency import idempotent
from apps.http.paging import page
from apps.http.problems import PROBLEMS, Problem, Refused
from apps.http.schemas import MOST_ID
from apps.lifecycle.models import Event, Stateful
from regatta.lifecycle.cluster import Desired

router = Router(tags=["clusters"])
_WRITES: dict[int, type[Problem]] = {**PROBLEMS, 412: Problem}
_READ, _WRITE = allow(Scope.CLUSTERS_READ), allow(Scope.CLUSTERS_WRITE)


@router.get("/clusters", auth=_READ, response={200: ClusterPage, **PROBLEMS})
def list_clusters(
    request: PortalRequest, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """The team's clusters that are not deleted, newest first."""
    found = page(selectors.cluster_list(request.team), cursor=cursor, limit=limit)
    return {"items": [_cluster(row) for row in found.items], "next": found.next}


@router.post("/clusters", auth=_WRITE, response={202: ClusterOut, **PROBLEMS})
@decorate_view(idempotent)
def create_cluster(
    request: PortalRequest, body: ClusterIn, response: HttpResponse
) -> Status[dict[str, Any]]:
    """Ask for a cluster; `Location` tells where its state can be seen."""
    cluster = services.create_cluster(
        team=request.team,
        name=body.name,
        provider=body.provider,
        workers=body.workers,
        node=body.node.wish(),
        actor=request.actor,
    )
    response["Location"] = reverse("api:get_cluster", args=[cluster.pk])
    return Status(202, _cluster(_mine(request, cluster.pk)))


@router.get(
    "/clusters/{int:pk}",
    auth=_READ,
    response={200: ClusterOut, **PROBLEMS},
    url_name="get_cluster",
)
def get_cluster(request: PortalRequest, pk: int) -> dict[str, Any]:
    """One cluster, a deleted one too."""
    return _cluster(_mine(request, pk))


@router.put("/clusters/{int:pk}/desired-state", auth=_WRITE, response={202: ClusterOut, **_WRITES})
def want(request: PortalRequest, pk: int, body: DesiredIn) -> Status[dict[str, Any]]:
    """Ask that it run, stop or be deleted; with `If-Match: <generation>`, only if unchanged."""
    services.want(
        _mine(request, pk),
        desired=body.desired,
        actor=request.actor,
        generation=_generation(request),
    )
    return Status(202, _cluster(_mine(request, pk)))


@router.put("/clusters/{int:pk}/size", auth=_WRITE, response={202: ClusterOut, **_WRITES})
def resize(request: PortalRequest, pk: int, body: SizeIn) -> Status[dict[str, Any]]:
    """Ask for another number of workers; idle ones go first, then those that started last."""
    services.resize_cluster(
        _mine(request, pk),
        workers=body.workers,
        actor=request.actor,
        generation=_generation(request),
    )
    return Status(202, _cluster(_mine(request, pk)))


@router.delete("/clusters/{int:pk}", auth=_WRITE, response={202: ClusterOut, **_WRITES})
def delete(request: PortalRequest, pk: int) -> Status[dict[str, Any]]:
    """Ask that it be deleted; what runs on it is lost. Its record, events and costs stay."""
    cluster = _mine(request, pk)
    services.want(
        cluster, desired=Desired.DELETED, actor=request.actor, generation=_generation(request)
    )
    return Status(202, _cluster(_mine(request, pk)))


@router.get("/clusters/{int:pk}/nodes", auth=_READ, response={200: NodePage, **PROBLEMS})
def list_nodes(
    request: PortalRequest, pk: int, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """The nodes of a cluster, of all its sessions, newest first."""
    found = page(selectors.nodes(_mine(request, pk)), cursor=cursor, limit=limit)
    return {"items": [_node(row) for row in found.items], "next": found.next}


@router.get("/clusters/{int:pk}/events", auth=_READ, response={200: EventPage, **PROBLEMS})
def list_events(
    request: PortalRequest, pk: int, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """What happened to a cluster and to its nodes, newest first."""
    found = page(selectors.events(_mine(request, pk)), cursor=cursor, limit=limit)
    return {"items": [_event(row) for row in found.items], "next": found.next}


def _mine(request: PortalRequest, pk: int) -> Cluster:
    """The team's cluster as it is now. Another team's is missing, like one that never was."""
    row: Cluster | None = None
    if pk <= MOST_ID:
        row = selectors.cluster_detail(request.team).filter(pk=pk).first()
    if row is None:
        raise Http404
    return row


def _generation(request: HttpRequest) -> int | None:
    """The generation of `If-Match`, given plain or in quotes.

    Raises: Refused for anything else.
    """
    given = request.headers.get("If-Match", "").strip().strip('"')
    if given in {"", "*"}:
        return None
    if given.isdecimal() and len(given) < 19:
        return int(given)
    raise Refused("bad_if_match", _("If-Match is the generation that you have read."), status=400)


def _state(row: Stateful) -> dict[str, Any]:
    names = ("state", "reason", "since", "generation", "unknown_since")
    message = str(texts.sentence(row.reason or row.state))
    return {name: getattr(row, name) for name in names} | {"message": message}


def _simulated(chip: str, count: int) -> dict[str, Any] | None:
    return {"chip": chip, "count": count} if count else None


def _cluster(row: Any) -> dict[str, Any]:
    names = ("name", "provider", "desired", "workers", "session", "created_by", "created_at")
    return {name: getattr(row, name) for name in names} | {
        "id": row.pk,
        "state": _state(row),
        "ready_workers": row.ready_workers,
        "node": {
            "cpus": row.node_cpus,
            "memory_gib": row.node_memory_bytes / GIB,
            "labels": row.node_labels,
            "simulated": _simulated(row.node_chip, row.node_chips),
        },
    }


def _node(row: Node) -> dict[str, Any]:
    names = ("name", "role", "session", "kind", "address", "cpus", "memory_bytes", "labels")
    return {name: getattr(row, name) for name in (*names, "started_at", "ended_at")} | {
        "id": row.pk,
        "state": _state(row),
        "simulated": _simulated(row.chip, row.chips),
    }


def _event(row: Event) -> dict[str, Any]:
    names = ("subject", "seq", "old", "new", "reason", "actor", "at")
    message, quote = str(texts.sentence(row.reason)), row.detail.get("quote", "")
    own = {name: getattr(row, name) for name in names}
    return own | {"id": row.pk, "message": message, "quote": quote}
