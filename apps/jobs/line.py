"""The line of each cluster: who may start next, and what the others are told that they wait for.

A queued attempt has no turn of its own: the lines are let forward, one transaction a cluster.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from apps.jobs import services
from apps.jobs.models import QUEUED, Attempt, Job
from apps.jobs.places import Place, Places
from apps.lifecycle.models import Moment
from regatta.lifecycle import attempt as engine
from regatta.lifecycle import queue
from regatta.lifecycle.attempt import AttemptState, Decision, Desired, Reason, Seen, Sight

log = logging.getLogger(__name__)

LINE = 100  # attempts let forward in one transaction
_OF_THE_LINE = ("cpus", "memory_bytes", "chip", "chips", "desired", "attempt_number", "cluster_id")


def due(now: Moment) -> list[int]:
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


def headed_by(pk: int) -> list[int]:
    """The line of an attempt that stands first in it; any other's turn comes with the first's."""
    mine = Job.objects.filter(attempts__pk=pk, attempts__state=QUEUED)
    for job_id, cluster_id in mine.values_list("pk", "cluster_id"):
        if job_id == Job.objects.in_line(cluster_id).values_list("pk", flat=True).first():
            return [cluster_id]
    return []


def forward(cluster_id: int, places: Places, now: Moment) -> None:
    """Let a line forward; trouble with it puts off that line alone."""
    try:
        _letforward(cluster_id, places, now)
    except Exception as trouble:  # noqa: BLE001  (one cluster's trouble must not hold up others)
        log.warning("no step: %r", trouble, extra={"action": "line_stuck", "cluster": cluster_id})
        for job in Job.objects.in_line(cluster_id)[:1]:
            head = Attempt.objects.get(job=job, number=job.attempt_number)
            head.note_trouble(trouble, now=now)


def _letforward(cluster_id: int, places: Places, now: Moment) -> None:
    """Place as many from the front of a cluster's line as fit; tell the others why they wait.

    One worker at a time per cluster, so that two never give away the same resources.
    """
    place = places(cluster_id)
    with transaction.atomic():
        _one_at_a_time(cluster_id)
        waiting = list(Job.objects.in_line(cluster_id).only(*_OF_THE_LINE)[:LINE])
        held = [job.demand for job in Job.objects.holding(cluster_id).only(*_OF_THE_LINE)]
        admitted = queue.admit(
            capacity=place.capacity, held=held, waiting=[job.demand for job in waiting]
        )
        seen = Seen.ABSENT if place.launcher else _unseen_in_line(place)
        for position, job in enumerate(waiting):
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
