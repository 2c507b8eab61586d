"""Bring attempts to what was asked of their jobs. Safe to repeat at any time.

Being placed, see `line`, is recorded before anything is started, so what is queued has never been
started.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import prefetch_related_objects
from django.db.models.functions import Now

from apps.costs.services import start_meter, stop_meter
from apps.jobs import line, services
from apps.jobs.launch import InputMissing, keep_for_masks, launch_of
from apps.jobs.models import Attempt, Job
from apps.jobs.places import Place, Places
from apps.lifecycle.models import Moment
from apps.lifecycle.side_by_side import each
from regatta.lifecycle import attempt as engine
from regatta.lifecycle import queue
from regatta.lifecycle.attempt import Act, AttemptState, Decision, Desired, Reason, Seen, Sight

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=45)  # so soon another worker takes over from one that was killed
_PATIENCE_S = 25.0  # after which a cluster's part of a sweep is left to the next one
AT_ONCE = 8  # clusters looked at side by side, so that a slow one holds up itself alone
_STRAY_AFTER_END = timedelta(minutes=15)


def sweep(
    *, places: Places, now: Moment, pk: int | None = None, limit: int = 20, at_once: int = 1
) -> None:
    """Let the lines forward, and take the attempts whose turn has come (or only `pk`) a step on.

    at_once: how many clusters are seen to side by side, each in a thread and connection.
    """
    lines = line.due(now) if pk is None else line.headed_by(pk)
    each(lines, lambda cluster_id: line.forward(cluster_id, places, now), at_once=at_once)
    rows = Attempt.objects.holding()
    due = (rows if pk is None else rows.filter(pk=pk)).claim_due(now=now, lease=LEASE, limit=limit)
    prefetch_related_objects(due, "job__package")
    by_cluster: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in due:
        by_cluster[attempt.job.cluster_id].append(attempt)
    each(by_cluster.values(), lambda group: _steps(group, places, now), at_once=at_once)


def stop_strays(*, places: Places) -> None:
    """End work that still runs though its attempt ended lately without the cluster's word."""
    rows = Attempt.objects.filter(state__in=["stopped", "lost"])
    lately = rows.filter(ended_at__gt=Now() - _STRAY_AFTER_END).exclude(session="")
    troubled: set[int] = set()  # each further look there would wait as long
    for attempt in lately.select_related("job"):
        if attempt.job.cluster_id in troubled:
            continue
        try:
            launcher = places(attempt.job.cluster_id).launcher
            if launcher and launcher.look(attempt.handle).seen in engine.LIVE:
                launcher.stop(attempt.handle)
                log.warning("stopped", extra={"action": "stray_stopped", "attempt": attempt.pk})
        except Exception:  # one cluster's trouble must not hold up the others
            troubled.add(attempt.job.cluster_id)
            log.exception("no look", extra={"action": "stray_unseen", "attempt": attempt.pk})


def _steps(attempts: Sequence[Attempt], places: Places, now: Moment) -> None:
    """One cluster's attempts. The first trouble puts off the rest: they would meet it too."""
    cluster_id, done, freed = attempts[0].job.cluster_id, 0, False
    until_s = time.monotonic() + _PATIENCE_S
    try:
        place = places(cluster_id)
        for attempt in attempts:
            if time.monotonic() > until_s:
                attempt.release(next_look_at=now)
            else:
                freed |= step(attempt, place=place, now=now)
            done += 1
    except Exception as trouble:  # noqa: BLE001  (one cluster's trouble must not hold up others)
        about = {"action": "step_failed", "attempt": attempts[done].pk}
        log.warning("no step: %r", trouble, extra=about)
        for put_off in attempts[done:]:
            put_off.note_trouble(trouble, now=now)
    if freed:
        line.forward(cluster_id, places, now)


def step(attempt: Attempt, *, place: Place, now: Moment) -> bool:
    """Look, decide, act, record: one pass over one attempt; say whether it ended here."""
    sight = _look(attempt, place)
    state, desired = AttemptState(attempt.state), Desired(attempt.job.desired)
    decision, proof = engine.decide(state, desired, sight), engine.evidence(sight)
    if decision.blind:
        attempt.lose_sight(now=now)
        return False
    try:
        _act(decision, attempt, place)
    except engine.StartFailed as failure:
        if attempt.troubles + 1 < engine.MAX_START_FAILURES:
            raise
        refusal = engine.StartRefused(str(failure))
        decision, proof = _refused(refusal), {"kind": "refusal", "message": str(refusal)[:2000]}
    except (engine.StartRefused, engine.HandleTaken, InputMissing) as refusal:
        decision, proof = _refused(refusal), {"kind": "refusal", "message": str(refusal)[:2000]}
    return _record(decision, sight, proof, attempt, place, now)


def _look(attempt: Attempt, place: Place) -> Sight:
    if place.launcher is None:
        return Sight(seen=place.unseen)
    sight = place.launcher.look(attempt.handle)
    if sight.seen is Seen.ABSENT and attempt.session != place.session:
        return replace(sight, seen=Seen.FORGOTTEN)
    return sight


def _act(decision: Decision, attempt: Attempt, place: Place) -> None:
    if place.launcher is None or decision.act is None:
        return
    if decision.act is Act.START:
        launch = launch_of(attempt)
        keep_for_masks(attempt, launch)
        place.launcher.start(launch)
    else:
        place.launcher.stop(attempt.handle)


_REFUSALS = {
    engine.StartRefused: Reason.REFUSED_BY_CLUSTER,
    engine.HandleTaken: Reason.HANDLE_TAKEN,
    InputMissing: Reason.INPUT_MISSING,
}


def _refused(refusal: Exception) -> Decision:
    reason = _REFUSALS[type(refusal)]
    return Decision(to=reason.ending, reason=reason)


def _record(
    decision: Decision,
    sight: Sight,
    proof: dict[str, Any],
    attempt: Attempt,
    place: Place,
    now: Moment,
) -> bool:
    """Write the outcome if the attempt is still ours to write; otherwise drop it."""
    wait_s = decision.look_again_s
    look_at = None if wait_s is None else now + timedelta(seconds=wait_s)
    if decision.to is None or decision.reason is None:
        attempt.release(next_look_at=look_at)
        return False
    ended = decision.reason.ending is not None
    fields = _times(sight, attempt, ended=ended) | ({"evidence": proof} if ended else {})
    with transaction.atomic():
        if not attempt.advance(
            decision.to,
            reason=decision.reason,
            detail=proof if ended else None,
            next_look_at=look_at,
            **fields,
        ):
            return False
        if "started_at" in fields and attempt.started_at:
            _start_meter(attempt, place, at=attempt.started_at)
        if ended and attempt.ended_at:
            stop_meter(attempt.subject, at=attempt.ended_at)
            _try_again(attempt, decision.reason)
    return ended


def _times(sight: Sight, attempt: Attempt, *, ended: bool) -> dict[str, Any]:
    """When it began and ended, by Ray's own clock where Ray tells and it can be true."""
    began_at, ended_at = _moment(sight.started_at_ms), _moment(sight.ended_at_ms)
    fields: dict[str, Any] = {}
    if attempt.started_at is None and sight.seen in engine.LIVE | engine.ENDED:
        fields["started_at"] = max(began_at or attempt.since, attempt.since)
    if ended:
        first = fields.get("started_at") or attempt.started_at or attempt.since
        fields["ended_at"] = Now() if ended_at is None else max(ended_at, first)
    return fields


def _moment(at_ms: int | None) -> datetime | None:
    """A time that a cluster tells; one of the future is not believed."""
    if at_ms is None or not 0 < at_ms < 1 << 45:
        return None
    return min(datetime.fromtimestamp(at_ms / 1000, tz=UTC), datetime.now(tz=UTC))


def _start_meter(attempt: Attempt, place: Place, *, at: datetime) -> None:
    """Let the books count what it keeps from others: its share of every node."""
    part = queue.share(attempt.job.demand, place.capacity)
    start_meter(
        attempt.subject,
        team_id=attempt.job.team_id,
        kinds={kind: Decimal(count) * part for kind, count in place.nodes_by_kind.items()},
        at=at,
        on=f"clusters.cluster:{attempt.job.cluster_id}",
    )


def _try_again(attempt: Attempt, reason: Reason) -> None:
    job = Job.objects.get(pk=attempt.job_id)
    rows = Attempt.objects.filter(job=job)
    if engine.try_again(
        reason,
        Desired(job.desired),
        retries=job.retries,
        failures=rows.filter(state=AttemptState.FAILED.value).count(),
        losses=rows.filter(state=AttemptState.LOST.value).count(),
    ):
        services.open_attempt(job)
