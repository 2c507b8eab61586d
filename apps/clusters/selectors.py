"""What others may know of clusters, and the reads of their pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q, QuerySet
from django.utils.translation import gettext as _

from apps.accounts import vault
from apps.clusters.models import Cluster, Node
from apps.http.problems import Refused
from apps.lifecycle.models import Event
from regatta.lifecycle.cluster import ClusterState, NodeState, Role

if TYPE_CHECKING:
    from apps.accounts.models import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How a cluster's head is spoken to. session: another one knows nothing of this one's jobs."""

    address: str
    token: str = field(repr=False)
    session: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the ready nodes of a cluster offer. chips: by name, simulated ones too."""

    cpus: int = 0
    memory_bytes: int = 0
    chips: Mapping[str, int] = field(default_factory=dict)
    nodes_by_kind: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLifetime:
    """From when to when a node is paid for. ended_at: None while it lives."""

    kind: str
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveNode:
    """A ready node, as the head and the series know it."""

    pk: int
    name: str
    role: str
    kind: str
    address: str
    cpus: int
    memory_bytes: int
    chip: str
    chips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCluster:
    """A cluster whose head answers."""

    pk: int
    team_id: int
    name: str
    session: int


def endpoint(cluster_id: int) -> Endpoint | None:
    """How to speak to the head of a cluster; None while it is not ready."""
    row = Cluster.objects.usable().filter(pk=cluster_id).first()
    if row is None or not row.address:
        return None
    return Endpoint(address=row.address, token=vault.open_(row.token), session=row.session)


def cluster_state(cluster_id: int, *, team_id: int | None = None) -> str | None:
    """The state of a cluster, `deleted` at the last; None when there never was one.

    team_id: whose it must be.
    """
    rows = Cluster.objects.filter(pk=cluster_id)
    rows = rows if team_id is None else rows.filter(team_id=team_id)
    return rows.values_list("state", flat=True).first()


def capacity(cluster_id: int) -> Capacity:
    """What the ready nodes of a cluster offer together; the head offers no CPUs."""
    cpus, memory_bytes = 0, 0
    chips: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for node in live_nodes(cluster_id):
        kinds[node.kind] = kinds.get(node.kind, 0) + 1
        cpus += node.cpus
        memory_bytes += node.memory_bytes if node.cpus else 0
        if node.chips:
            chips[node.chip] = chips.get(node.chip, 0) + node.chips
    return Capacity(cpus=cpus, memory_bytes=memory_bytes, chips=chips, nodes_by_kind=kinds)


def planned_capacity(cluster_id: int) -> Capacity:
    """What the workers of a cluster are to offer together once all of them are ready."""
    row = Cluster.objects.get(pk=cluster_id)
    chips = {row.node_chip: row.workers * row.node_chips} if row.node_chips else {}
    return Capacity(
        cpus=row.workers * row.node_cpus,
        memory_bytes=row.workers * row.node_memory_bytes,
        chips=chips,
    )


def planned_kinds(cluster_id: int) -> dict[str, Decimal]:
    """The kinds and numbers of nodes that a cluster is meant to have, for a price beforehand."""
    row = Cluster.objects.get(pk=cluster_id)
    kinds = {node_kind(row.provider): Decimal(1)}
    of_workers = node_kind(row.provider, row.node_chip)
    kinds[of_workers] = kinds.get(of_workers, Decimal(0)) + row.workers
    return kinds


def node_kind(provider: str, chip: str = "") -> str:
    """By what a node is priced: its provider, and its chip where it has one."""
    return f"{provider}:{chip}" if chip else provider


def node_kinds(team_id: int) -> set[str]:
    """The kinds of the nodes that a team's clusters have, had or are meant to have."""
    had = Node.objects.filter(cluster__team=team_id).values_list("kind", flat=True)
    meant = Cluster.objects.filter(team=team_id).values_list("provider", "node_chip")
    return {*had.distinct(), *(node_kind(*one) for one in meant.distinct())}


def node_lifetimes(
    *, ids: Collection[int] = (), team_id: int | None = None, since: datetime | None = None
) -> dict[int, list[NodeLifetime]]:
    """Every node that these clusters, or a team's, had after `since` (None: ever), by cluster."""
    began = Node.objects.filter(started_at__isnull=False)
    rows = began.filter(cluster__team=team_id) if team_id else began.filter(cluster__in=ids)
    if since is not None:
        rows = rows.filter(Q(ended_at=None) | Q(ended_at__gt=since))
    lifetimes: dict[int, list[NodeLifetime]] = defaultdict(list)
    values = rows.order_by("started_at", "pk").values_list(
        "cluster", "kind", "started_at", "ended_at"
    )
    for cluster, kind, start, end in values:
        lifetimes[cluster].append(NodeLifetime(kind=kind, started_at=start, ended_at=end))
    return lifetimes


def live_clusters() -> list[LiveCluster]:
    """Every cluster whose head answers."""
    rows = Cluster.objects.usable().order_by("pk").values("pk", "team_id", "name", "session")
    return [LiveCluster(**row) for row in rows]


def live_nodes(cluster_id: int) -> list[LiveNode]:
    """The ready nodes of a cluster, the head first."""
    names = list(LiveNode.__dataclass_fields__)
    rows = Node.objects.ready().filter(cluster=cluster_id).order_by("number", "pk").values(*names)
    return [LiveNode(**row) for row in rows]


def team_id(cluster_id: int) -> int | None:
    """Whose cluster it is, or was; None when there never was one."""
    return Cluster.objects.filter(pk=cluster_id).values_list("team_id", flat=True).first()


def ids_of_team(team_id: int) -> QuerySet[Any]:
    """The ids of a team's clusters, deleted ones too."""
    return Cluster.objects.filter(team_id=team_id).values_list("pk", flat=True)


def names(ids: Sequence[int]) -> dict[int, str]:
    """The names of clusters by their ids, deleted ones too."""
    return dict(Cluster.objects.filter(pk__in=ids).values_list("pk", "name"))


def present_names(team: Team, *, without: Collection[str] = ()) -> dict[int, str]:
    """The names of a team's clusters that are not deleted, the oldest first, by their ids.

    without: states in which they are left out.
    """
    rows = Cluster.objects.present().filter(team=team).exclude(state__in=without).order_by("pk")
    return dict(rows.values_list("pk", "name"))


def pick(team: Team, given: str | int | None) -> int:
    """The id of the team's cluster that `given` names or numbers; without it, of its only one.

    Raises: Refused when there is none, or none is given and there are several.
    """
    ids = Cluster.objects.present().filter(team=team).values_list("pk", flat=True)
    if given in (None, ""):
        found = list(ids.exclude(state=ClusterState.DELETING)[:2])
        if len(found) == 1:
            return int(found[0])
        several = _("Name a cluster; the team has several.")
        said = several if found else _("Create a cluster first.")
        raise Refused("cluster_needed", said, pointer="/cluster")
    asked = str(given)
    found = list(ids.filter(name=asked))
    if not found and asked.isdecimal() and len(asked) < 19:
        found = list(ids.filter(pk=int(asked)))
    if not found:
        said = _("The team has no cluster %(cluster)s.") % {"cluster": asked[:80]}
        raise Refused("unknown_cluster", said, pointer="/cluster")
    return int(found[0])


def cluster_list(team: Team) -> QuerySet[Any]:
    """The team's clusters that are not deleted, each with its number of ready workers."""
    return cluster_detail(team).exclude(state=ClusterState.DELETED)


def cluster_detail(team: Team) -> QuerySet[Any]:
    """The team's clusters, deleted ones too, each with its number of ready workers."""
    ready = Q(nodes__state=NodeState.READY, nodes__role=Role.WORKER)
    workers = Count("nodes", filter=ready)
    rows: QuerySet[Any] = Cluster.objects.filter(team=team).annotate(ready_workers=workers)
    return rows


def nodes(cluster: Cluster) -> QuerySet[Node]:
    """The nodes of a cluster, the latest first."""
    rows: QuerySet[Node] = cluster.nodes.order_by("-pk")
    return rows


def events(cluster: Cluster) -> QuerySet[Event]:
    """What happened to a cluster and to its nodes, the latest first."""
    subjects = [f"clusters.node:{pk}" for pk in cluster.nodes.values_list("pk", flat=True)]
    return Event.objects.filter(subject__in=[cluster.subject, *subjects]).order_by("-pk")


def last_words(cluster: Cluster) -> str:
    """What the nodes of a cluster that has failed wrote last; empty if that told nothing."""
    if cluster.state != ClusterState.FAILED:
        return ""
    move = Event.objects.filter(subject=cluster.subject, seq=cluster.generation).first()
    return str(move.detail.get("quote", "")) if move else ""
