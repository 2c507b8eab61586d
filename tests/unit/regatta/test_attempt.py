"""The life of an attempt, without a database."""

from __future__ import annotations

from itertools import product

import pytest

from regatta.lifecycle.attempt import (
    ENDED,
    HOLDING,
    LIVE,
    MAX_LOSSES,
    MOVES,
    TERMINAL,
    Act,
    Again,
    AttemptState,
    Desired,
    Reason,
    Seen,
    Sight,
    decide,
    evidence,
    try_again,
)

WAITING = sorted(reason for reason in Reason if reason.startswith("waiting_"))
WAITS = [None, *WAITING]
EVERY = list(product(AttemptState, Desired, Seen, WAITS))
ERROR_TYPES = {
    "": Reason.FAILED_ON_CLUSTER,
    "SOMETHING_NEW": Reason.FAILED_ON_CLUSTER,
    "JOB_ENTRYPOINT_COMMAND_ERROR": Reason.ENTRYPOINT_FAILED,
    "JOB_ENTRYPOINT_COMMAND_START_ERROR": Reason.ENTRYPOINT_NOT_STARTED,
    "RUNTIME_ENV_SETUP_FAILURE": Reason.ENVIRONMENT_FAILED,
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": Reason.UNSCHEDULABLE,
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": Reason.SUPERVISOR_LOST,
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": Reason.SUPERVISOR_LOST,
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": Reason.SUPERVISOR_LOST,
    "JOB_SUPERVISOR_ACTOR_DIED": Reason.SUPERVISOR_LOST,
}


def a_decision(state, desired, seen, wait=None, **sight):
    return decide(
        AttemptState(state), Desired(desired), Sight(seen=Seen(seen), **sight), wait=wait
    )


def test_the_table_names_every_state_and_ends_have_no_way_out():
    assert set(MOVES) == set(AttemptState)
    assert not any(MOVES[state] for state in TERMINAL)


def test_every_state_can_reach_an_end():
    reach = set(TERMINAL)
    while more := {state for state, to in MOVES.items() if to & reach} - reach:
        reach |= more
    assert reach == set(AttemptState)


def test_a_state_is_queued_or_holds_resources_or_has_ended():
    assert {AttemptState.QUEUED} | HOLDING | TERMINAL == set(AttemptState)
    assert not HOLDING & TERMINAL


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_every_end_has_a_reason_that_leads_to_it(state):
    assert [reason for reason in Reason if reason.ending is state]


@pytest.mark.parametrize(("state", "desired", "seen", "wait"), EVERY)
def test_every_decision_is_legal_and_no_attempt_is_forgotten(state, desired, seen, wait):
    decision = a_decision(state, desired, seen, wait)
    after = decision.to or state
    assert decision.to is None or decision.to in MOVES[state]
    assert (decision.look_again_s is None) == (after in TERMINAL)


@pytest.mark.parametrize(("state", "desired", "seen", "wait"), EVERY)
def test_a_move_has_a_reason_and_a_reason_of_an_end_leads_there(state, desired, seen, wait):
    decision = a_decision(state, desired, seen, wait)
    assert (decision.to is None) or (decision.reason is not None)
    if decision.to in TERMINAL:
        assert decision.reason.ending is decision.to
    elif decision.reason is not None:
        assert decision.reason.ending is None


@pytest.mark.parametrize(("desired", "seen", "wait"), list(product(Desired, Seen, WAITS)))
def test_nothing_is_done_to_what_has_ended(desired, seen, wait):
    assert {a_decision(state, desired, seen, wait).act for state in TERMINAL} == {None}


@pytest.mark.parametrize(("state", "seen"), list(product(sorted(HOLDING), sorted(LIVE))))
def test_nothing_ends_by_a_wish_while_its_work_still_runs(state, seen):
    decision = a_decision(state, "stopped", seen)
    assert decision.act is Act.STOP
    assert decision.to not in TERMINAL


@pytest.mark.parametrize(("state", "desired"), list(product(sorted(HOLDING), Desired)))
def test_a_cluster_that_cannot_be_asked_changes_nothing(state, desired):
    decision = a_decision(state, desired, "hidden")
    assert (decision.act, decision.to, decision.blind) == (None, None, True)


@pytest.mark.parametrize(
    ("desired", "to", "reason"),
    [
        ("running", "lost", Reason.CLUSTER_DELETED),
        ("stopped", "stopped", Reason.ENDED_WITH_CLUSTER),
    ],
)
def test_a_deleted_cluster_ends_what_ran_there(desired, to, reason):
    for state in ("starting", "running"):
        decision = a_decision(state, desired, "gone")
        assert (decision.to, decision.reason) == (to, reason)


@pytest.mark.parametrize("seen", sorted(Seen))
def test_what_waits_is_stopped_at_once_since_it_was_never_started(seen):
    decision = a_decision("queued", "stopped", seen, Reason.WAITING_FOR_TURN)
    assert (decision.act, decision.to, decision.reason) == (None, "stopped", "never_started")


@pytest.mark.parametrize("wait", WAITING)
def test_what_waits_keeps_its_state_and_says_why(wait):
    decision = a_decision("queued", "running", "absent", wait)
    assert (decision.to, decision.reason) == (None, wait)


def test_what_waits_for_a_cluster_says_so_whatever_the_queue_says():
    decision = a_decision("queued", "running", "hidden", Reason.WAITING_FOR_TURN)
    assert (decision.to, decision.reason) == (None, Reason.WAITING_FOR_CLUSTER)


def test_a_turn_that_has_come_is_recorded_before_anything_is_started():
    decision = a_decision("queued", "running", "absent")
    assert (decision.act, decision.to, decision.look_again_s) == (None, "starting", 0)


@pytest.mark.parametrize(
    ("state", "seen", "act", "to", "reason"),
    [
        ("starting", "absent", Act.START, None, None),
        ("starting", "pending", None, None, None),
        ("starting", "running", None, "running", Reason.SEEN_RUNNING),
        ("starting", "forgotten", None, "lost", Reason.SESSION_CHANGED),
        ("running", "absent", None, "lost", Reason.UNKNOWN_TO_ITS_CLUSTER),
        ("running", "forgotten", None, "lost", Reason.SESSION_CHANGED),
        ("running", "pending", None, None, None),
        ("running", "running", None, None, None),
        ("running", "succeeded", None, "succeeded", Reason.SUCCEEDED),
        ("running", "stopped", None, "stopped", Reason.STOPPED_ON_CLUSTER),
        ("stopping", "absent", None, "stopped", Reason.STOPPED_AS_ASKED),
        ("stopping", "forgotten", None, "stopped", Reason.STOPPED_AS_ASKED),
        ("stopping", "stopped", None, "stopped", Reason.STOPPED_AS_ASKED),
        ("stopping", "succeeded", None, "succeeded", Reason.SUCCEEDED),
        ("stopping", "gone", None, "stopped", Reason.ENDED_WITH_CLUSTER),
    ],
)
def test_what_follows_from_what_is_seen(state, seen, act, to, reason):
    decision = a_decision(state, "running", seen)
    assert (decision.act, decision.to, decision.reason) == (act, to, reason)


@pytest.mark.parametrize(("error_type", "reason"), ERROR_TYPES.items())
def test_a_failure_is_named_by_what_ray_calls_it(error_type, reason):
    decision = a_decision("running", "running", "failed", error_type=error_type)
    assert (decision.reason, decision.to) == (reason, reason.ending)


def test_what_ray_could_not_read_is_refused_and_not_lost():
    told = {"error_type": "JOB_SUPERVISOR_ACTOR_START_FAILURE", "no_driver": True}
    decision = a_decision("starting", "running", "failed", **told)
    assert (decision.to, decision.reason) == ("failed", Reason.REFUSED_BY_CLUSTER)


@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_what_was_asked_to_stop_is_not_called_lost(error_type):
    decision = a_decision("stopping", "stopped", "failed", error_type=error_type)
    assert decision.to in {"failed", "stopped"}


@pytest.mark.parametrize("reason", list(Reason))
def test_a_job_that_shall_stop_is_not_tried_again(reason):
    assert not try_again(reason, Desired.STOPPED, retries=10, failures=1, losses=1)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.again is Again.NEVER])
def test_what_may_never_be_tried_again_is_not(reason):
    assert not try_again(reason, Desired.RUNNING, retries=10, failures=0, losses=0)


def test_failing_spends_the_retries_of_the_job_and_being_lost_does_not():
    def again(reason, **counts):
        return try_again(reason, Desired.RUNNING, **counts)

    failed, lost = Reason.ENTRYPOINT_FAILED, Reason.SESSION_CHANGED
    assert not again(failed, retries=0, failures=1, losses=0)
    assert again(failed, retries=2, failures=2, losses=3)
    assert not again(failed, retries=2, failures=3, losses=0)
    assert again(lost, retries=0, failures=0, losses=MAX_LOSSES)
    assert not again(lost, retries=9, failures=0, losses=MAX_LOSSES + 1)


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        *((seen, "ray_terminal_status") for seen in sorted(ENDED)),
        (Seen.FORGOTTEN, "session_ended"),
        (Seen.ABSENT, "unknown_to_its_cluster"),
        (Seen.GONE, "cluster_deleted"),
    ],
)
def test_a_verdict_names_its_evidence(seen, kind):
    assert evidence(Sight(seen=seen))["kind"] == kind


def test_evidence_keeps_what_was_told_and_nothing_else():
    sight = Sight(seen=Seen.FAILED, error_type="E", message="x" * 9000, exit_code=0)
    assert evidence(sight) == {
        "kind": "ray_terminal_status",
        "ray_status": "failed",
        "error_type": "E",
        "message": "x" * 2000,
        "exit_code": 0,
    }
