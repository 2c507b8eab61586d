"""The life of a cluster and of its nodes: states, legal moves, and the next step to take.

Pure: no clock, no database, no process. The portal says what it remembers and what it has just
seen; the answer is data, which the portal carries out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ClusterState(StrEnum):
    REQUESTED = "requested"
    PROVISIONING = "provisioning"
    READY = "ready"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"


class NodeState(StrEnum):
    WANTED = "wanted"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    LOST = "lost"
    GONE = "gone"


class Desired(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


class Role(StrEnum):
    HEAD = "head"
    WORKER = "worker"


class Seen(StrEnum):
    """What was seen of one node. Trouble in asking is not a sight at all.

    ABSENT: nothing of it is left. PRESENT: it runs, but the head does not count it, or is silent.
    ALIVE: the head counts it. DEAD: what is left of it no longer works for the cluster.
    """

    ABSENT = "absent"
    PRESENT = "present"
    ALIVE = "alive"
    DEAD = "dead"


class Door(StrEnum):
    """How the head's Jobs API answers.

    GUARDED: it refuses who brings no token, and serves who brings it. OPEN: it serves anybody.
    """

    SILENT = "silent"
    GUARDED = "guarded"
    OPEN = "open"


class Act(StrEnum):
    START = "start"
    STOP = "stop"
    KILL = "kill"


_C, _N = ClusterState, NodeState
TERMINAL = frozenset({_C.DELETED})
NODE_TERMINAL = frozenset({_N.LOST, _N.GONE})
MOVES: Mapping[ClusterState, frozenset[ClusterState]] = {
    _C.REQUESTED: frozenset({_C.PROVISIONING, _C.STOPPING, _C.DELETING}),
    _C.PROVISIONING: frozenset({_C.READY, _C.FAILED, _C.STOPPING, _C.DELETING}),
    _C.READY: frozenset({_C.DEGRADED, _C.PROVISIONING, _C.FAILED, _C.STOPPING, _C.DELETING}),
    _C.DEGRADED: frozenset({_C.READY, _C.PROVISIONING, _C.FAILED, _C.STOPPING, _C.DELETING}),
    _C.STOPPING: frozenset({_C.STOPPED, _C.DELETING}),
    _C.STOPPED: frozenset({_C.PROVISIONING, _C.DELETING}),
    _C.FAILED: frozenset({_C.PROVISIONING, _C.STOPPING, _C.DELETING}),
    _C.DELETING: frozenset({_C.DELETED}),
    _C.DELETED: frozenset(),
}
NODE_MOVES: Mapping[NodeState, frozenset[NodeState]] = {
    _N.WANTED: frozenset({_N.STARTING, _N.STOPPING, _N.GONE}),
    _N.STARTING: frozenset({_N.READY, _N.STOPPING, _N.LOST}),
    _N.READY: frozenset({_N.STOPPING, _N.LOST}),
    _N.STOPPING: frozenset({_N.GONE}),
    **{state: frozenset[NodeState]() for state in NODE_TERMINAL},
}
USABLE = frozenset({_C.READY, _C.DEGRADED})  # its head answers, so jobs may run

START_LIMIT_S = 120.0  # a node that has not joined by then is given up
SETTLED_S = 60.0  # ready for so long, earlier failures are forgotten
MAX_FAILURES = 5  # in a row, while provisioning
_SOON_S, _LATER_S, _LONGEST_WAIT_S = 0.4, 2.0, 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What is remembered of a node that has not ended. for_s: how long it is in its state."""

    name: str
    number: int
    role: Role
    state: NodeState
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What is remembered of a cluster.

    workers: the wished number. failures: in a row; `since_failure_s` counts from the last one.
    """

    state: ClusterState
    desired: Desired
    workers: int
    for_s: float
    failures: int = 0
    since_failure_s: float = 0.0
    nodes: tuple[NodeFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the world shows of a cluster.

    nodes: by name; one that is not named here is absent. joinable: the head takes in workers.
    busy: names of nodes that work at this moment. hosts: by name, where a node listens.
    """

    door: Door = Door.SILENT
    joinable: bool = False
    nodes: Mapping[str, Seen] = field(default_factory=dict)
    busy: frozenset[str] = frozenset()
    address: str = ""
    hosts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStep:
    """Do `act` to the node, then move it `to` (None: stay)."""

    name: str
    act: Act | None = None
    to: NodeState | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Take the steps of `nodes`, add rows, move the cluster `to`, then look again (None: never).

    add_workers: that many more in this session. new_session: open one, with a head and as many
    workers as are wished. failures: what the count becomes. trouble: why nothing could be seen.
    """

    nodes: tuple[NodeStep, ...] = ()
    add_workers: int = 0
    new_session: bool = False
    to: ClusterState | None = None
    reason: str = ""
    failures: int | None = None
    trouble: str = ""
    look_again_s: float | None = None


def backoff_s(failures: int) -> float:
    """The pause before the next try after so many failures in a row; none after the first."""
    return 0.0 if failures < 2 else min(2.0 ** (min(failures, 16) - 1), _LONGEST_WAIT_S)


def decide(cluster: ClusterFacts, sight: Sight) -> Decision:
    """The next step of a cluster, for every state, wish and sight."""
    state = cluster.state
    if state is _C.DELETED:
        return Decision()
    if state is _C.DELETING or cluster.desired is Desired.DELETED:
        return _towards_an_end(cluster, sight, via=_C.DELETING, end=_C.DELETED)
    if state is _C.STOPPING or cluster.desired is Desired.STOPPED:
        return _towards_an_end(cluster, sight, via=_C.STOPPING, end=_C.STOPPED)
    if state not in {_C.REQUESTED, _C.STOPPED, _C.FAILED}:
        return _towards_running(cluster, sight)
    if cluster.nodes:
        steps = tuple(_end(node, sight, act=Act.KILL) for node in cluster.nodes)
        return Decision(nodes=steps, look_again_s=_SOON_S)
    if state is _C.FAILED and cluster.failures >= MAX_FAILURES:
        return Decision()
    return _open_session(to=_C.PROVISIONING, reason="start_asked")


def _towards_an_end(
    cluster: ClusterFacts, sight: Sight, *, via: ClusterState, end: ClusterState
) -> Decision:
    if cluster.state is end:
        return Decision()
    act = Act.STOP if end is _C.STOPPED else Act.KILL
    steps = tuple(_end(node, sight, act=act) for node in cluster.nodes)
    if cluster.state is not via:
        reason = "stop_asked" if end is _C.STOPPED else "delete_asked"
        return Decision(nodes=steps, to=via, reason=reason, look_again_s=_SOON_S)
    if steps:
        return Decision(nodes=steps, look_again_s=_SOON_S)
    again_s = 0.0 if cluster.desired is Desired.RUNNING and end is _C.STOPPED else None
    return Decision(to=end, reason="all_nodes_gone", look_again_s=again_s)


def _end(node: NodeFacts, sight: Sight, *, act: Act, reason: str = "stop_asked") -> NodeStep:
    """One step of a node towards its end; repeated until nothing of it is left."""
    seen = sight.nodes.get(node.name, Seen.ABSENT)
    if node.state is _N.STOPPING:
        if seen is Seen.ABSENT:
            # The last act finds nothing that runs, and clears up what stands in files.
            return NodeStep(name=node.name, act=Act.KILL, to=_N.GONE, reason="ended")
        return NodeStep(name=node.name, act=act)
    if node.state is _N.WANTED and seen is Seen.ABSENT:
        return NodeStep(name=node.name, to=_N.GONE, reason="never_started")
    return NodeStep(name=node.name, act=act, to=_N.STOPPING, reason=reason)


def _open_session(*, to: ClusterState | None = None, reason: str = "") -> Decision:
    return Decision(new_session=True, to=to, reason=reason, look_again_s=0.0)


def _towards_running(cluster: ClusterFacts, sight: Sight) -> Decision:
    if sight.door is Door.OPEN and cluster.state is _C.PROVISIONING:
        return _fail(cluster, sight, reason="authentication_off")
    lost = {node.name: why for node in cluster.nodes if (why := _lost_by(node, sight))}
    head = next((n for n in cluster.nodes if n.role is Role.HEAD and n.name not in lost), None)
    if head is None or head.state is _N.STOPPING:
        return _without_head(cluster, sight, lost)
    if lost and cluster.state is _C.PROVISIONING and cluster.failures + 1 >= MAX_FAILURES:
        return _fail(cluster, sight, reason="nodes_keep_failing")
    return _with_head(cluster, sight, lost, head)


def _lost_by(node: NodeFacts, sight: Sight) -> str:
    """Why a node that should run does not any more; empty while nothing proves it."""
    seen = sight.nodes.get(node.name, Seen.ABSENT)
    if node.state not in {_N.STARTING, _N.READY}:
        return ""
    if seen is Seen.ABSENT:
        return "process_gone"
    if seen is Seen.DEAD:
        return "declared_dead"
    if node.state is _N.STARTING:
        joined = seen is Seen.ALIVE and sight.door is not Door.SILENT
        return "start_timed_out" if node.for_s > START_LIMIT_S and not joined else ""
    return "left_its_cluster" if seen is Seen.PRESENT and sight.door is Door.GUARDED else ""


def _bury(name: str, reason: str) -> NodeStep:
    return NodeStep(name=name, act=Act.KILL, to=_N.LOST, reason=reason)


def _fail(cluster: ClusterFacts, sight: Sight, *, reason: str) -> Decision:
    """Give up until somebody asks again; nothing may go on running, and costing."""
    steps = tuple(_end(node, sight, act=Act.KILL, reason=reason) for node in cluster.nodes)
    return Decision(
        nodes=steps, to=_C.FAILED, reason=reason, failures=MAX_FAILURES, look_again_s=_SOON_S
    )


def _without_head(cluster: ClusterFacts, sight: Sight, lost: Mapping[str, str]) -> Decision:
    """A lost head means another session, opened when nothing is left of this one."""
    failures = cluster.failures + bool(lost)
    if lost and failures >= MAX_FAILURES:
        return _fail(cluster, sight, reason="nodes_keep_failing")
    steps = tuple(
        _bury(node.name, lost[node.name])
        if node.name in lost
        else _end(node, sight, act=Act.KILL, reason="head_lost")
        for node in cluster.nodes
    )
    if cluster.state is not _C.PROVISIONING:
        return Decision(
            nodes=steps,
            to=_C.PROVISIONING,
            reason="head_lost",
            failures=failures,
            look_again_s=_SOON_S,
        )
    if steps:
        changed = failures if lost else None
        return Decision(nodes=steps, failures=changed, look_again_s=_SOON_S)
    wait_s = backoff_s(cluster.failures) - cluster.since_failure_s
    return _open_session() if wait_s <= 0 else Decision(look_again_s=wait_s)


def _with_head(
    cluster: ClusterFacts, sight: Sight, lost: Mapping[str, str], head: NodeFacts
) -> Decision:
    steps = {name: _bury(name, why) for name, why in lost.items()}
    for node in cluster.nodes:
        if node.name not in lost and (step := _onward(node, sight)):
            steps[node.name] = step
    workers = [n for n in cluster.nodes if n.role is Role.WORKER and n.name not in lost]
    staying = [node for node in workers if node.state is not _N.STOPPING]
    surplus = len(staying) - cluster.workers
    for node in _least_missed(staying, sight)[: max(surplus, 0)]:
        steps[node.name] = _end(node, sight, act=Act.STOP, reason="fewer_wished")
        staying.remove(node)
    failures = _failures(cluster, lost)
    ready = [node for node in (head, *staying) if _is_ready(node, steps.get(node.name))]
    complete = head in ready and len(ready) - 1 == cluster.workers
    may_add = (bool(lost) and failures < 2) or cluster.since_failure_s >= backoff_s(failures)
    to, reason = _whole(cluster, sight, complete=complete, lost=bool(lost))
    silent = sight.door is Door.SILENT and cluster.state in USABLE
    moving = bool(steps) or not complete or to is not None
    return Decision(
        nodes=tuple(steps.values()),
        add_workers=max(-surplus, 0) if may_add else 0,
        to=to,
        reason=reason,
        failures=failures if failures != cluster.failures else None,
        trouble="head_silent" if silent else "",
        look_again_s=_SOON_S if moving and not silent else _LATER_S,
    )


def _onward(node: NodeFacts, sight: Sight) -> NodeStep | None:
    """The step of a node that is not lost, towards ready or, once stopping, towards its end."""
    if node.state is _N.STOPPING:
        return _end(node, sight, act=Act.STOP)
    if node.state is _N.WANTED and (node.role is Role.HEAD or sight.joinable):
        return NodeStep(name=node.name, act=Act.START, to=_N.STARTING, reason="start_asked")
    alive = sight.nodes.get(node.name) is Seen.ALIVE
    if node.state is _N.STARTING and alive and sight.door is Door.GUARDED:
        return NodeStep(name=node.name, to=_N.READY, reason="joined")
    return None


def _is_ready(node: NodeFacts, step: NodeStep | None) -> bool:
    return (node.state if step is None or step.to is None else step.to) is _N.READY


def _least_missed(workers: list[NodeFacts], sight: Sight) -> list[NodeFacts]:
    """Who goes first: who has not started, then the idle, then who started last."""

    def key(node: NodeFacts) -> tuple[bool, bool, int]:
        return (node.state is _N.READY, node.name in sight.busy, -node.number)

    return sorted(workers, key=key)


def _failures(cluster: ClusterFacts, lost: Mapping[str, str]) -> int:
    if lost:
        return cluster.failures + 1
    settled = cluster.state is _C.READY and cluster.for_s >= SETTLED_S
    return 0 if settled else cluster.failures


def _whole(
    cluster: ClusterFacts, sight: Sight, *, complete: bool, lost: bool
) -> tuple[ClusterState | None, str]:
    """Where the cluster as a whole goes, and why."""
    guarded = sight.door is Door.GUARDED
    if cluster.state is _C.READY:
        if sight.door is Door.OPEN:
            return _C.DEGRADED, "authentication_off"
        return (_C.DEGRADED, "worker_lost") if lost else (None, "")
    if complete and guarded:
        return _C.READY, "all_nodes_ready"
    return None, ""
