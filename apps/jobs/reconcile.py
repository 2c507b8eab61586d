"""Bring attempts to what was asked of their jobs. Safe to repeat at any time.

A queued attempt has no turn of its own: the lines are let forward, one transaction a cluster.
Being placed is recorded before anything is started, so what is queued has never been started.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, prefetch_related_objects
from django.db.models.functions import Now

from apps.accounts import vault
from apps.clusters import selectors as clusters
from apps.costs.services import start_meter, stop_meter
from apps.jobs import selectors, services
from apps.jobs.models import QUEUED, Attempt, Job
from apps.jobs.places import Place, Places
from apps.lifecycle.models import Moment
from regatta.lifecycle import attempt as engine
from regatta.lifecycle import queue
from regatta.lifecycle.attempt import (
    Act,
    AttemptState,
    Decision,
    Desired,
    Launch,
    Reason,
    Seen,
    Sight,
)

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=45)  # so soon another worker takes over from one that was killed
_PATIENCE_S = 25.0  # after which a cluster's part of a sweep is left to the next one
AT_ONCE = 8  # clusters looked at side by side, so that a slow one holds up itself alone
LINE = 100  # attempts let forward in one transaction
_OF_THE_LINE = ("cpus", "memory_bytes", "chip", "chips", "desired", "attempt_number", "cluster_id")
_EARLIER = 20  # attempts whose outputs a later one is told of
_STRAY_AFTER_END = timedelta(minutes=15)


class InputMissing(Exception):
    """A package or a secret that the job names is not there any more."""


def sweep(
    *, places: Places, now: Moment, pk: int | None = None, limit: int = 20, at_once: int = 1
) -> None:
    """Let the lines forward, and take the attempts whose turn has come (or only `pk`) a step on.

    at_once: how many clusters are seen to side by side, each in a thread and connection.
    """
    lines = _lines_due(now) if pk is None else _line_of(pk)
    _each(lines, lambda cluster_id: _forward(cluster_id, places, now), at_once)
    rows = Attempt.objects.holding()
    due = (rows if pk is None else rows.filter(pk=pk)).claim_due(now=now, lease=LEASE, limit=limit)
    prefetch_related_objects(due, "job__package")
    by_cluster: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in due:
        by_cluster[attempt.job.cluster_id].append(attempt)
    _each(by_cluster, lambda cluster_id: _steps(by_cluster[cluster_id], places, now), at_once)


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
        _forward(cluster_id, places, now)


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
        launch = _launch(attempt)
        _keep_for_masks(attempt, launch)
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


def _launch(attempt: Attempt) -> Launch:
    """All that the cluster must be told, with secrets opened at the last moment.

    Raises: InputMissing.
    """
    job, handle = attempt.job, attempt.handle
    runtime_env = {key: value for key, value in job.runtime_env.items() if key != "env_vars"}
    if job.package:
        runtime_env["working_dir"] = f"gcs://{job.package.name}"
    runtime_env["env_vars"] = {**job.env, **_secrets(job), **_ours(attempt), **_rays(job)}
    return Launch(
        handle=handle,
        entrypoint=job.entrypoint,
        runtime_env=runtime_env,
        metadata={
            **job.metadata,
            "regatta_attempt": handle,
            "regatta_created_at": attempt.created_at.isoformat(),
        },
        entrypoint_resources=job.entrypoint_resources,
        packages=_packages(job, runtime_env),
    )


def _secrets(job: Job) -> dict[str, str]:
    values = selectors.secret_values(job)
    if missing := sorted(set(job.secret_env.values()) - set(values)):
        raise InputMissing(f"secret {missing[0]}")
    return {variable: values[name] for variable, name in job.secret_env.items()}


def _keep_for_masks(attempt: Attempt, launch: Launch) -> None:
    """Seal the secrets before they can be written to a log: they may change while it runs."""
    variables = launch.runtime_env["env_vars"]
    used = selectors.values_used(attempt)  # an earlier try to start may have had others
    if new := {variables[name] for name in attempt.job.secret_env} - used:
        sealed = vault.seal(json.dumps(sorted(used | new)))
        Attempt.objects.filter(pk=attempt.pk, log__ending="").update(sealed_secrets=sealed)


def _ours(attempt: Attempt) -> dict[str, str]:
    """What tells the job who it is, and where its telemetry and its files go."""
    outputs = Path(settings.REGATTA_HOME) / "outputs" / attempt.handle
    outputs.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    outputs.mkdir(exist_ok=True)
    tried = range(attempt.number - 1, max(0, attempt.number - _EARLIER), -1)
    earlier = [str(outputs.with_name(f"job-{attempt.job_id}-a{number}")) for number in tried]
    return {
        "REGATTA_URL": settings.REGATTA_URL,
        "REGATTA_TELEMETRY_TOKEN": selectors.telemetry_token(attempt),
        "REGATTA_JOB_ID": str(attempt.job_id),
        "REGATTA_ATTEMPT": str(attempt.number),
        "REGATTA_OUTPUT_DIR": str(outputs),
        "REGATTA_EARLIER_OUTPUT_DIRS": os.pathsep.join(earlier),  # to go on from, newest first
    }


def _rays(job: Job) -> dict[str, str]:
    """Which head to ask: on a machine with several clusters Ray's own search finds too many."""
    found = clusters.endpoint(job.cluster_id)
    return {"RAY_API_SERVER_ADDRESS": found.address} if found else {}


def _packages(job: Job, runtime_env: dict[str, Any]) -> dict[str, Path]:
    names = selectors.packages_named(runtime_env)
    kept = {package.name: package.sha256 for package in selectors.packages_by_name(job, names)}
    try:
        return {name: selectors.store().local_path(kept[name]) for name in names}
    except (KeyError, FileNotFoundError) as error:
        raise InputMissing(f"package {error}") from error


def _lines_due(now: Moment) -> list[int]:
    """Clusters whose first in line may be looked at."""
    first = (
        Job.objects.filter(state=QUEUED)
        .order_by("cluster_id", "-priority", "pk")
        .distinct("cluster_id")
        .values("pk")
    )
    heads = Attempt.objects.filter(state=QUEUED, job__in=first)
    due = heads.filter(Q(next_look_at=None) | Q(next_look_at__lte=now))
    return list(due.values_list("job__cluster_id", flat=True))


def _line_of(pk: int) -> list[int]:
    """The line of an attempt that stands first in it; any other's turn comes with the first's."""
    mine = Job.objects.filter(attempts__pk=pk, attempts__state=QUEUED)
    for job_id, cluster_id in mine.values_list("pk", "cluster_id"):
        if job_id == Job.objects.in_line(cluster_id).values_list("pk", flat=True).first():
            return [cluster_id]
    return []


def _forward(cluster_id: int, places: Places, now: Moment) -> None:
    """Let a line forward; trouble with it puts off that line alone."""
    try:
        _let_forward(cluster_id, places, now)
    except Exception as trouble:  # noqa: BLE001  (one cluster's trouble must not hold up others)
        log.warning("no step: %r", trouble, extra={"action": "line_stuck", "cluster": cluster_id})
        for job in Job.objects.in_line(cluster_id)[:1]:
            head = Attempt.objects.get(job=job, number=job.attempt_number)
            head.note_trouble(trouble, now=now)


def _let_forward(cluster_id: int, places: Places, now: Moment) -> None:
    """Place as many from the front of a cluster's line as fit; tell the others why they wait.

    One worker at a time per cluster, so that two never give away the same resources.
    """
    place = places(cluster_id)
    with transaction.atomic():
        _one_at_a_time(cluster_id)
        line = list(Job.objects.in_line(cluster_id).only(*_OF_THE_LINE)[:LINE])
        held = [job.demand for job in Job.objects.holding(cluster_id).only(*_OF_THE_LINE)]
        admitted = queue.admit(
            capacity=place.capacity, held=held, waiting=[job.demand for job in line]
        )
        seen = Seen.ABSENT if place.launcher else _unseen_in_line(place)
        for position, job in enumerate(line):
            wait = None if position < admitted else Reason.WAITING_FOR_RESOURCES
            decision = engine.decide(
                AttemptState.QUEUED, Desired(job.desired), Sight(seen=seen), wait=wait
            )
            if decision.to is None:
                _wait(cluster_id, job, decision, now)
                break
            _leave_the_line(job, decision, place, now)


def _unseen_in_line(place: Place) -> Seen:
    """Who waits can wait for a stopped cluster, yet not for a deleted one."""
    return Seen.GONE if place.unseen is Seen.GONE else Seen.HIDDEN


def _leave_the_line(job: Job, decision: Decision, place: Place, now: Moment) -> None:
    attempt = Attempt.objects.get(job=job, number=job.attempt_number)
    reason = decision.reason or Reason.PLACED
    if reason.ending:
        sight = Sight(seen=place.unseen)
        evidence = engine.evidence(sight) if reason is Reason.CLUSTER_DELETED else {}
        fields: dict[str, Any] = {"ended_at": Now(), "evidence": evidence, "next_look_at": None}
    else:
        fields = {"session": place.session, "next_look_at": now}
    if attempt.advance(decision.to or "", reason=reason, **fields):
        services.wake(attempt)


def _wait(cluster_id: int, head: Job, decision: Decision, now: Moment) -> None:
    """The first in line says what it waits for, and those behind that they wait for their turn."""
    reason = decision.reason or Reason.WAITING_FOR_TURN
    behind = reason if reason is Reason.WAITING_FOR_CLUSTER else Reason.WAITING_FOR_TURN
    line = Job.objects.in_line(cluster_id)
    for jobs, why in ((line.filter(pk=head.pk), reason), (line.exclude(pk=head.pk), behind)):
        changed = jobs.order_by().exclude(reason=why.value)
        attempts = Attempt.objects.filter(
            job__in=changed.values("pk"), number=F("job__attempt_number")
        )
        attempts.update(reason=why.value)
        changed.update(reason=why.value)
    look_at = now + timedelta(seconds=decision.look_again_s or 0)
    heads = Attempt.objects.filter(job=head, state=QUEUED)
    heads.update(next_look_at=look_at)


def _one_at_a_time(cluster_id: int) -> None:
    with connection.cursor() as cursor:
        name = f"jobs.line:{cluster_id}"
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def _each(cluster_ids: Iterable[int], work: Callable[[int], None], at_once: int) -> None:
    """`work(cluster_id)` for each; in threads of their own when more than one may run at once."""
    every = list(cluster_ids)
    if at_once == 1 or len(every) < 2:
        for cluster_id in every:
            work(cluster_id)
        return

    def apart(cluster_id: int) -> None:
        try:
            work(cluster_id)
        finally:
            connection.close()

    with ThreadPoolExecutor(at_once) as pool:
        for done in [pool.submit(apart, cluster_id) for cluster_id in every]:
            done.result()
