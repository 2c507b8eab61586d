"""The life of a job's attempt: its states, its legal moves, and the next step to take.

Pure: no clock, no database, no network. The portal says what it remembers and what it has just
seen; the answer is data, which the portal carries out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


class AttemptState(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


class Desired(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"


_S = AttemptState
TERMINAL = frozenset({_S.SUCCEEDED, _S.FAILED, _S.STOPPED, _S.LOST})
HOLDING = frozenset({_S.STARTING, _S.RUNNING, _S.STOPPING})  # these hold resources of a cluster
MOVES: Mapping[AttemptState, frozenset[AttemptState]] = {
    _S.QUEUED: frozenset({_S.STARTING, _S.STOPPED, _S.LOST}),
    _S.STARTING: frozenset({_S.RUNNING, _S.STOPPING, *TERMINAL}),
    _S.RUNNING: frozenset({_S.STOPPING, *TERMINAL}),
    _S.STOPPING: frozenset({_S.SUCCEEDED, _S.FAILED, _S.STOPPED}),
    **{state: frozenset[AttemptState]() for state in TERMINAL},
}


class Again(StrEnum):
    """Whose budget pays for another attempt."""

    NEVER = "never"
    RETRIES = "retries"  # the job's own, chosen by whoever submitted it: failing is its own doing
    LOSSES = "losses"  # the portal's: being lost is not


class Reason(StrEnum):
    """Why a row stands where it stands; one that ends an attempt knows how, and what follows."""

    SUBMITTED = "submitted"
    WAITING_FOR_CLUSTER = "waiting_for_cluster"
    WAITING_FOR_TURN = "waiting_for_turn"
    WAITING_FOR_RESOURCES = "waiting_for_resources"
    PLACED = "placed"
    SEEN_RUNNING = "seen_running"
    STOP_ASKED = "stop_asked"

    SUCCEEDED = "succeeded"
    ENTRYPOINT_FAILED = "entrypoint_failed"
    ENTRYPOINT_NOT_STARTED = "entrypoint_not_started"
    ENVIRONMENT_FAILED = "environment_failed"
    UNSCHEDULABLE = "unschedulable"
    INPUT_MISSING = "input_missing"
    REFUSED_BY_CLUSTER = "refused_by_cluster"
    FAILED_ON_CLUSTER = "failed_on_cluster"
    NEVER_STARTED = "never_started"
    STOPPED_AS_ASKED = "stopped_as_asked"
    STOPPED_ON_CLUSTER = "stopped_on_cluster"
    ENDED_WITH_CLUSTER = "ended_with_cluster"
    SUPERVISOR_LOST = "supervisor_lost"
    UNKNOWN_TO_ITS_CLUSTER = "unknown_to_its_cluster"
    SESSION_CHANGED = "session_changed"
    HANDLE_TAKEN = "handle_taken"
    CLUSTER_DELETED = "cluster_deleted"

    @property
    def ending(self) -> AttemptState | None:
        """The end that this reason explains; None when it ends nothing."""
        return _ENDINGS[self][0] if self in _ENDINGS else None

    @property
    def again(self) -> Again:
        return _ENDINGS[self][1] if self in _ENDINGS else Again.NEVER


_R = Reason
_ENDINGS: Mapping[Reason, tuple[AttemptState, Again]] = {
    _R.SUCCEEDED: (_S.SUCCEEDED, Again.NEVER),
    _R.ENTRYPOINT_FAILED: (_S.FAILED, Again.RETRIES),
    _R.ENTRYPOINT_NOT_STARTED: (_S.FAILED, Again.RETRIES),
    _R.ENVIRONMENT_FAILED: (_S.FAILED, Again.NEVER),  # Ray itself has tried it three times
    _R.FAILED_ON_CLUSTER: (_S.FAILED, Again.RETRIES),
    _R.UNSCHEDULABLE: (_S.FAILED, Again.NEVER),  # the same request would not fit next time
    _R.INPUT_MISSING: (_S.FAILED, Again.NEVER),  # a package or a secret was deleted meanwhile
    _R.REFUSED_BY_CLUSTER: (_S.FAILED, Again.NEVER),  # nor would the same words be understood
    _R.NEVER_STARTED: (_S.STOPPED, Again.NEVER),
    _R.STOPPED_AS_ASKED: (_S.STOPPED, Again.NEVER),
    _R.STOPPED_ON_CLUSTER: (_S.STOPPED, Again.NEVER),
    _R.ENDED_WITH_CLUSTER: (_S.STOPPED, Again.NEVER),
    _R.SUPERVISOR_LOST: (_S.LOST, Again.LOSSES),
    _R.UNKNOWN_TO_ITS_CLUSTER: (_S.LOST, Again.LOSSES),
    _R.SESSION_CHANGED: (_S.LOST, Again.LOSSES),
    _R.HANDLE_TAKEN: (_S.LOST, Again.LOSSES),
    _R.CLUSTER_DELETED: (_S.LOST, Again.NEVER),  # a job belongs to its cluster
}
MAX_START_FAILURES = 5  # in a row, after which a start counts as refused: others wait behind it
MAX_LOSSES = 3  # times that one job's attempts are lost before it is left alone


class Seen(StrEnum):
    """What is known of an attempt's work. Trouble in asking is not a sight at all.

    ABSENT: the cluster itself says that it knows no such attempt.
    FORGOTTEN: the session in which the attempt was placed has ended; the cluster runs none, or
        another one that knows no such attempt.
    HIDDEN: the cluster is not ready, so that nobody can be asked.
    GONE: the cluster has been deleted.
    The others are Ray's words.
    """

    ABSENT = "absent"
    FORGOTTEN = "forgotten"
    HIDDEN = "hidden"
    GONE = "gone"
    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


LIVE = frozenset({Seen.PENDING, Seen.RUNNING})
ENDED = frozenset({Seen.STOPPED, Seen.SUCCEEDED, Seen.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen, and what the cluster added to it.

    error_type: Ray's name for a kind of failure, empty when it gave none.
    message: in Ray's words, for people; nothing is decided by it.
    no_driver: Ray ended it before it had a node for its driver.
    """

    seen: Seen
    error_type: str = ""
    message: str = ""
    exit_code: int | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    no_driver: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """All that a cluster must be told to start an attempt.

    metadata: tells this attempt from another's under the same handle, so it must name its own.
    entrypoint_resources: what Ray shall reserve for the entrypoint itself: `num_cpus`,
        `num_gpus`, `memory`, `resources`, `label_selector`.
    packages: files to be on the cluster before the start, by Ray's name for each.
    """

    handle: str
    entrypoint: str
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    entrypoint_resources: Mapping[str, Any] = field(default_factory=dict)
    packages: Mapping[str, Path] = field(default_factory=dict)


class StartRefused(Exception):
    """The cluster understood the request and will never carry it out as it stands."""


class StartFailed(Exception):
    """The cluster tried and failed, and knows of no such work afterwards: trying again may do."""


class HandleTaken(Exception):
    """The cluster runs somebody else's work under this handle."""


class Launcher(Protocol):
    """Runs attempts, each known by its handle; `start` and `stop` may be repeated.

    Raises: whatever it likes, when it could not ask; the caller tries again later. `start` raises
    StartRefused or HandleTaken when asking again is useless, and StartFailed when it may not be.
    """

    def look(self, handle: str) -> Sight: ...
    def start(self, launch: Launch) -> None: ...
    def stop(self, handle: str) -> None: ...


class Act(StrEnum):
    START = "start"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Do `act`, then move `to` (None: stay), then look again (None: never).

    reason: of the move, or of the waiting. blind: nothing was seen; say since when.
    """

    act: Act | None = None
    to: AttemptState | None = None
    reason: Reason | None = None
    look_again_s: float | None = None
    blind: bool = False


# Ray says so where it could not read the request (a bad runtime_env, say), though it had taken it,
# and where the supervisor of a running job cannot be found any more.
_NOT_BEGUN = "JOB_SUPERVISOR_ACTOR_START_FAILURE"
STARTING_S, RUNNING_S, WAITING_S, BLIND_S = 1.0, 2.0, 2.0, 5.0
_FAILURES: Mapping[str, Reason] = {  # Ray's JobErrorType
    "JOB_ENTRYPOINT_COMMAND_ERROR": _R.ENTRYPOINT_FAILED,
    "JOB_ENTRYPOINT_COMMAND_START_ERROR": _R.ENTRYPOINT_NOT_STARTED,
    "RUNTIME_ENV_SETUP_FAILURE": _R.ENVIRONMENT_FAILED,
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": _R.UNSCHEDULABLE,
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": _R.SUPERVISOR_LOST,
    _NOT_BEGUN: _R.SUPERVISOR_LOST,
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": _R.SUPERVISOR_LOST,
    "JOB_SUPERVISOR_ACTOR_DIED": _R.SUPERVISOR_LOST,
}


def decide(
    state: AttemptState, desired: Desired, sight: Sight, *, wait: Reason | None = None
) -> Decision:
    """The next step of an attempt, for every state, wish and sight.

    wait: why the queue does not let a queued attempt go yet; None when its turn has come.
    """
    if state in TERMINAL:
        return Decision()
    if state is _S.QUEUED:
        return _in_the_queue(desired, sight.seen, wait)
    ending = desired is Desired.STOPPED or state is _S.STOPPING
    if sight.seen is Seen.GONE:
        return _end(_R.ENDED_WITH_CLUSTER if ending else _R.CLUSTER_DELETED)
    if sight.seen is Seen.HIDDEN:
        return Decision(look_again_s=BLIND_S, blind=True)
    if sight.seen in ENDED:
        return _end(_told_end(sight, ending=ending))
    return _towards_the_end(state, sight.seen) if ending else _towards_running(state, sight.seen)


def try_again(
    reason: Reason, desired: Desired, *, retries: int, failures: int, losses: int
) -> bool:
    """Whether a job whose attempt ended for `reason` gets another one.

    retries: how many further attempts the job may spend on failures.
    failures, losses: attempts of the job that ended so, this one included.
    """
    if desired is Desired.STOPPED:
        return False
    if reason.again is Again.RETRIES:
        return failures <= retries
    return reason.again is Again.LOSSES and losses <= MAX_LOSSES


def evidence(sight: Sight) -> dict[str, Any]:
    """What a verdict on this sight rests on, strongest kind first known, as plain data."""
    kinds = {
        Seen.GONE: "cluster_deleted",
        Seen.FORGOTTEN: "session_ended",
        Seen.ABSENT: "unknown_to_its_cluster",
    }
    told = {
        "kind": kinds.get(sight.seen, "ray_terminal_status"),
        "ray_status": sight.seen.value if sight.seen in ENDED | LIVE else None,
        "error_type": sight.error_type,
        "message": sight.message[:2000],
        "exit_code": sight.exit_code,
        "started_at_ms": sight.started_at_ms,
        "ended_at_ms": sight.ended_at_ms,
    }
    return {key: value for key, value in told.items() if value not in (None, "")}


def _in_the_queue(desired: Desired, seen: Seen, wait: Reason | None) -> Decision:
    """Nothing queued was ever started: placing is recorded before anything is done."""
    if desired is Desired.STOPPED:
        return _end(_R.NEVER_STARTED)
    if seen is Seen.GONE:
        return _end(_R.CLUSTER_DELETED)
    if seen is Seen.HIDDEN:
        return Decision(reason=_R.WAITING_FOR_CLUSTER, look_again_s=WAITING_S)
    if wait is not None:
        return Decision(reason=wait, look_again_s=WAITING_S)
    return Decision(to=_S.STARTING, reason=_R.PLACED, look_again_s=0.0)


def _told_end(sight: Sight, *, ending: bool) -> Reason:
    """Why an attempt ended that its cluster calls ended."""
    if sight.seen is Seen.SUCCEEDED:
        return _R.SUCCEEDED
    if sight.seen is Seen.STOPPED:
        return _R.STOPPED_AS_ASKED if ending else _R.STOPPED_ON_CLUSTER
    if sight.no_driver and sight.error_type == _NOT_BEGUN:
        return _R.REFUSED_BY_CLUSTER
    reason = _FAILURES.get(sight.error_type, _R.FAILED_ON_CLUSTER)
    return _R.STOPPED_AS_ASKED if ending and reason.ending is _S.LOST else reason


def _towards_the_end(state: AttemptState, seen: Seen) -> Decision:
    if state is not _S.STOPPING:
        return Decision(
            act=Act.STOP, to=_S.STOPPING, reason=_R.STOP_ASKED, look_again_s=STARTING_S
        )
    if seen in LIVE:
        return Decision(act=Act.STOP, look_again_s=STARTING_S)
    return _end(_R.STOPPED_AS_ASKED)


def _towards_running(state: AttemptState, seen: Seen) -> Decision:
    if seen is Seen.FORGOTTEN:
        return _end(_R.SESSION_CHANGED)
    if seen is Seen.ABSENT and state is _S.STARTING:
        return Decision(act=Act.START, look_again_s=STARTING_S)
    if seen is Seen.ABSENT:
        return _end(_R.UNKNOWN_TO_ITS_CLUSTER)
    if seen is Seen.RUNNING and state is _S.STARTING:
        return Decision(to=_S.RUNNING, reason=_R.SEEN_RUNNING, look_again_s=RUNNING_S)
    return Decision(look_again_s=STARTING_S if state is _S.STARTING else RUNNING_S)


def _end(reason: Reason) -> Decision:
    return Decision(to=reason.ending, reason=reason)
