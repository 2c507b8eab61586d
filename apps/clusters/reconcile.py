"""Bring clusters and their nodes to what was asked. Safe to repeat at any time."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from apps.accounts.vault import open_, seal
from apps.clusters.models import GIB, Cluster, Node
from apps.clusters.selectors import node_kind
from apps.lifecycle.models import Moment
from apps.lifecycle.nudge import announce
from apps.lifecycle.side_by_side import each
from regatta import providers
from regatta.lifecycle import cluster as engine
from regatta.lifecycle.cluster import Act, ClusterState, Decision, NodeState, NodeStep, Role
from regatta.providers.provider import (
    ClusterSpec,
    NodeSpec,
    Provider,
    ProviderTrouble,
    SimulatedChip,
)

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=1)  # so soon another worker takes over from one that was killed
_BEGIN_WITHIN_S = 20.0  # a lease whose step has not begun by then is given back
AT_ONCE = 8  # clusters seen to side by side, so that a slow one holds up itself alone
MOST = 4 * AT_ONCE  # clusters leased by one such sweep; each thread comes to four of them
_PATIENCE_S = 2.0  # after which a sweep leaves whoever is slow to its thread and its lease
HEAD_MEMORY_BYTES = GIB // 2
ProviderOf = Callable[[str], Provider]


class _Late(Exception):
    """Another worker was first; everything of this pass is dropped."""


def installed(name: str) -> Provider:
    """The provider of that name, as the portal has it.

    Raises: UnknownProvider.
    """
    return providers.provider(name, home=settings.REGATTA_HOME)


def sweep(
    *,
    now: Moment,
    pk: int | None = None,
    limit: int = 5,
    at_once: int = 1,
    provider_of: ProviderOf = installed,
) -> None:
    """Take the clusters whose turn has come (or only `pk`) one step further.

    at_once: how many side by side, each in a thread and connection; the slow are not waited for.
    """
    rows = Cluster.objects.all() if pk is None else Cluster.objects.filter(pk=pk)
    until_s = time.monotonic() + _BEGIN_WITHIN_S
    due = rows.claim_due(now=now, lease=LEASE, limit=limit)
    each(
        due,
        lambda cluster: _step(cluster, now=now, provider_of=provider_of, until_s=until_s),
        at_once=at_once,
        wait_s=_PATIENCE_S,
    )


def _step(cluster: Cluster, *, now: Moment, provider_of: ProviderOf, until_s: float) -> None:
    """A step whose trouble puts off this cluster alone."""
    if time.monotonic() > until_s:
        mine = Cluster.objects.filter(pk=cluster.pk, lease_token=cluster.lease_token)
        mine.update(lease_until=None, lease_token=None)
        return
    try:
        step(cluster, now=now, provider=provider_of(cluster.provider))
    except Exception as error:
        level = logging.WARNING if isinstance(error, ProviderTrouble) else logging.ERROR
        trace = None if isinstance(error, ProviderTrouble) else error
        extra = {"action": "step_failed", "cluster": cluster.pk}
        log.log(level, "no step: %s", error, extra=extra, exc_info=trace)
        cluster.note_trouble(error, now=now)


def step(cluster: Cluster, *, now: Moment, provider: Provider) -> None:
    """Look, decide, act, record: one pass over one cluster."""
    nodes: dict[str, Node] = {node.name: node for node in cluster.nodes.live()}
    spec = _spec(cluster, nodes)
    sight = provider.look(spec)
    facts = _facts(cluster, nodes, at=_clock())
    decision = engine.decide(facts, sight)
    specs = {node.name: node for node in spec.nodes}
    words = _last_words(decision, provider, spec)
    for one in decision.nodes:
        _act(one, provider, spec, specs[one.name])
    if decision.to is ClusterState.DELETED:
        provider.forget(cluster.handle)
    if decision.trouble and not (decision.nodes or decision.add_workers or decision.to):
        raise ProviderTrouble(decision.trouble)
    try:
        with transaction.atomic():
            _record(cluster, nodes, decision, sight, words, now)
    except _Late:
        log.info("late", extra={"action": "step_dropped", "cluster": cluster.pk})


def sweep_orphans(*, provider_of: ProviderOf = installed) -> list[str]:
    """End what bears our mark and no row wants; the names of what was ended."""
    ended = []
    for name in providers.NAMES:
        provider = provider_of(name)
        running = provider.running()  # before the rows: a row is always there before its node
        wanted = set(
            Node.objects.live().filter(name__in=list(running)).values_list("name", flat=True)
        )
        for node, cluster in running.items():
            if node not in wanted:
                log.warning("ended an orphan", extra={"action": "orphan_ended", "node": node})
                provider.stop_node(cluster, node, force=True)
                ended.append(node)
    return ended


def _clock() -> datetime:
    """The database's, by which all that is remembered was written."""
    at: datetime = Cluster.objects.values_list(Now(), flat=True)[:1][0]
    return at


def _spec(cluster: Cluster, nodes: Mapping[str, Node]) -> ClusterSpec:
    staying = [
        node
        for node in nodes.values()
        if node.role == Role.WORKER and node.state != NodeState.STOPPING
    ]
    return ClusterSpec(
        handle=cluster.handle,
        session=cluster.session,
        token=open_(cluster.token) if cluster.token else "",
        nodes=tuple(_node_spec(node) for node in nodes.values()),
        crowded=len(staying) > cluster.workers,
    )


def _node_spec(node: Node) -> NodeSpec:
    return NodeSpec(
        name=node.name,
        role=Role(node.role),
        cpus=node.cpus,
        memory_bytes=node.memory_bytes,
        labels=node.labels,
        simulated=SimulatedChip(chip=node.chip, count=node.chips) if node.chips else None,
    )


def _facts(cluster: Cluster, nodes: Mapping[str, Node], *, at: datetime) -> engine.ClusterFacts:
    def age_s(since: datetime | None) -> float:
        return (at - since).total_seconds() if since else 0.0

    return engine.ClusterFacts(
        state=ClusterState(cluster.state),
        desired=engine.Desired(cluster.desired),
        workers=cluster.workers,
        for_s=age_s(cluster.since),
        failures=cluster.failures,
        since_failure_s=age_s(cluster.failed_at),
        nodes=tuple(
            engine.NodeFacts(
                name=node.name,
                number=node.number,
                role=Role(node.role),
                state=NodeState(node.state),
                for_s=age_s(node.since),
            )
            for node in nodes.values()
        ),
    )


def _act(one: NodeStep, provider: Provider, cluster: ClusterSpec, node: NodeSpec) -> None:
    if one.act is Act.START:
        provider.start_node(cluster, node)
    elif one.act is not None:
        provider.stop_node(cluster.handle, node.name, force=one.act is Act.KILL)


def _last_words(decision: Decision, provider: Provider, spec: ClusterSpec) -> dict[str, str]:
    """What those that are given up wrote, by their names: the head first, which mostly knows."""
    failed = decision.to is ClusterState.FAILED
    names = [one.name for one in decision.nodes if failed or one.to is NodeState.LOST]
    return {name: said for name in names if (said := provider.last_words(spec, name))}


def _record(
    cluster: Cluster,
    nodes: Mapping[str, Node],
    decision: Decision,
    sight: engine.Sight,
    words: Mapping[str, str],
    now: Moment,
) -> None:
    """Write the outcome if the cluster is still ours to write.

    Raises: _Late, which undoes it.
    """
    mine = Cluster.objects.filter(pk=cluster.pk, lease_token=cluster.lease_token)
    found = mine.select_for_update(no_key=True, of=("self",)).first()
    if found is None:
        raise _Late
    for one in decision.nodes:
        if one.to is not None and not _move(nodes[one.name], one, sight, words.get(one.name, "")):
            raise _Late
    fields = _fields(cluster, decision, sight)
    if decision.new_session:
        fields |= {"session": cluster.session + 1, "token": seal(secrets.token_urlsafe(32))}
        _open_session(cluster)
    first = _next_number(cluster) if decision.add_workers else 0
    for number in range(first, first + decision.add_workers):
        _add_node(cluster, session=cluster.session, number=number)
    wait_s = decision.look_again_s
    look_at = None if wait_s is None else now + timedelta(seconds=wait_s)
    if found.next_look_at != cluster.next_look_at:
        look_at = found.next_look_at  # a wish was made meanwhile, and must not be put off
    if decision.to is None:
        mine.update(**fields)
        cluster.release(next_look_at=look_at)
    elif not cluster.advance(
        decision.to,
        reason=decision.reason,
        detail=_quote("\n".join(words.values())) if decision.to is ClusterState.FAILED else None,
        next_look_at=look_at,
        **fields,
    ):
        raise _Late
    if decision.to is not None or any(one.to for one in decision.nodes):
        announce(cluster.subject)


def _fields(cluster: Cluster, decision: Decision, sight: engine.Sight) -> dict[str, Any]:
    """What else is written of the cluster: where it is reached, and its failures in a row."""
    fields: dict[str, Any] = {}
    if sight.address and sight.address != cluster.address:
        fields["address"] = sight.address
    if decision.to is not None and decision.to not in engine.USABLE:
        fields["address"] = ""
    if decision.failures is not None:
        fields["failures"] = decision.failures
        if decision.failures > cluster.failures:
            fields["failed_at"] = Now()
    return fields


def _move(node: Node, one: NodeStep, sight: engine.Sight, words: str) -> bool:
    fields: dict[str, Any] = {"next_look_at": None}
    if one.to is NodeState.STARTING:
        fields["started_at"] = Now()
    if one.to in engine.NODE_TERMINAL and node.started_at:
        fields["ended_at"] = Now()
    if address := sight.hosts.get(node.name):
        fields["address"] = address
    return one.to is not None and node.advance(
        one.to, reason=one.reason, detail=_quote(words), **fields
    )


def _quote(words: str) -> dict[str, str]:
    return {"quote": words} if words else {}


def _open_session(cluster: Cluster) -> None:
    for number in range(cluster.workers + 1):
        _add_node(cluster, session=cluster.session + 1, number=number)


def _next_number(cluster: Cluster) -> int:
    last = cluster.nodes.filter(session=cluster.session).order_by("-number").first()
    return last.number + 1 if last else 0


def _add_node(cluster: Cluster, *, session: int, number: int) -> None:
    """A row for a node that is to be. The head, number 0, offers nothing to tasks."""
    is_head = number == 0
    Node.objects.create(
        cluster=cluster,
        session=session,
        number=number,
        name=f"{cluster.handle}-s{session}-n{number}",
        role=Role.HEAD if is_head else Role.WORKER,
        kind=node_kind(cluster.provider, "" if is_head else cluster.node_chip),
        cpus=0 if is_head else cluster.node_cpus,
        memory_bytes=HEAD_MEMORY_BYTES if is_head else cluster.node_memory_bytes,
        labels={} if is_head else cluster.node_labels,
        chip="" if is_head else cluster.node_chip,
        chips=0 if is_head else cluster.node_chips,
        next_look_at=None,
    )
