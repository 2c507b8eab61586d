"""Builders of clusters, and sweeps over them with a clock of their own."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

from django.utils import timezone
from people import a_team

from apps.accounts.vault import seal
from apps.clusters import reconcile, services
from apps.clusters.models import Cluster, Node
from regatta.lifecycle.cluster import ClusterState, NodeState, Role

_numbers = count(1)
GIB = 1 << 30


def a_cluster(team=None, *, name="", workers=2, node=None, actor="user:test"):
    """One that was asked for and has not been looked at."""
    return services.create_cluster(
        team=team or a_team(),
        name=name or f"cluster{next(_numbers)}",
        workers=workers,
        node=node or services.NodeWish(),
        actor=actor,
    )


def a_ready_cluster(team=None, *, workers=2, address="http://127.0.0.1:8265", token="t", **fields):
    """One whose rows say that it is ready, without a provider having been asked."""
    cluster = a_cluster(team, workers=workers, **fields)
    now = timezone.now()
    Cluster.objects.filter(pk=cluster.pk).update(
        state=ClusterState.READY,
        reason="all_nodes_ready",
        session=1,
        address=address,
        token=seal(token),
        next_look_at=None,
    )
    for number in range(workers + 1):
        reconcile._add_node(cluster, session=1, number=number)
    Node.objects.filter(cluster=cluster).update(
        state=NodeState.READY, started_at=now, address="127.0.1.1"
    )
    cluster.refresh_from_db()
    return cluster


def sweeps(provider, *, count, start=None, every=timedelta(seconds=5), pk=None):
    """Sweep `count` times, each later than the last; the time after it."""
    now = start or timezone.now() + timedelta(seconds=1)
    for _ in range(count):
        reconcile.sweep(now=now, pk=pk, provider_of=lambda _: provider)
        now += every
    return now


def nodes_of(cluster, *, role=None):
    """The states of its live nodes, by name."""
    rows = Node.objects.live().filter(cluster=cluster)
    rows = rows.filter(role=role) if role else rows
    return dict(rows.values_list("name", "state"))


def head_of(cluster):
    return Node.objects.live().get(cluster=cluster, role=Role.HEAD)
