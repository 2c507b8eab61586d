"""Keep what a plan foretells of a job, and set beside it what the job took."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, OuterRef, Q, Subquery
from django.utils import timezone

from apps.advisor import score_selectors
from apps.advisor.models import Prediction
from apps.jobs import selectors as jobs
from apps.jobs.spec import PLAN_VARIABLE

log = logging.getLogger(__name__)

SETTLE_AFTER = timedelta(minutes=2)  # until then an ended job may still deliver telemetry
_LOOK_BACK = timedelta(hours=1)  # for jobs whose nudge was lost
_TRY_AGAIN = timedelta(days=30)  # a job that was tried once more is measured once more
_AT_ONCE = 200


def foresee(pk: int | None = None, *, now: datetime | None = None) -> None:
    """Store a prediction for each job that brought a plan and has none; a plan that is none says
    so in the log, and on the job's page. One that breaks the planner holds up no other."""
    rows = jobs.planned_jobs(since=(now or timezone.now()) - _LOOK_BACK)
    rows = rows.filter(pk=pk) if pk else rows
    known = set(
        Prediction.objects.filter(job_id__in=[row.pk for row in rows]).values_list(
            "job_id", flat=True
        )
    )
    for job in rows:
        if job.pk in known:
            continue
        try:
            _foresee(job)
        except Exception:
            log.exception("not foreseen", extra={"action": "plan_failed", "job": job.pk})


def _foresee(job: Any) -> None:
    try:
        found = score_selectors.foretell(job.env[PLAN_VARIABLE], job.team)
    except ValueError as error:
        log.info("no plan: %s", error, extra={"action": "plan_unreadable", "job": job.pk})
        return
    Prediction.objects.get_or_create(
        job_id=job.pk,
        defaults={
            "team": job.team,
            "plan": score_selectors.document_of(found),
            "iteration_s": found.item.iteration_s,
            "peak_bytes": found.item.peak_bytes,
            "tokens_per_step": found.tokens_per_step,
            "tokens": found.planned.tokens,
            "usd_per_hour": jobs.hourly_usd(job.demand, job.cluster_id, team_id=job.team_id),
        },
    )


def settle(*, now: datetime | None = None) -> None:
    """Store what jobs took whose attempt has ended. Doing it again changes nothing."""
    at = now or timezone.now()
    open_ = Prediction.objects.filter(Q(settled_at=None) | Q(made_at__gt=at - _TRY_AGAIN))
    ended = jobs.latest_ended(until=at - SETTLE_AFTER).filter(job_id=OuterRef("job_id"))
    due = open_.annotate(last=Subquery(ended.values("number")[:1])).exclude(last=None)
    rows = list(due.exclude(attempt=F("last")).order_by("pk")[:_AT_ONCE])
    outcomes = jobs.outcomes(row.job_id for row in rows)
    found = score_selectors.measure(
        (row, outcomes[row.job_id])
        for row in rows  # but those that are gone, or were tried once more just now
        if row.job_id in outcomes and outcomes[row.job_id].attempt == row.last
    )
    for row in rows:
        if (told := found.get(row.job_id)) is None:
            continue
        Prediction.objects.filter(pk=row.pk, attempt=row.attempt).update(
            attempt=told.attempt,
            steps=told.steps,
            trained_steps=told.trained_steps,
            measured_iteration_s=told.iteration_s,
            measured_peak_bytes=told.peak_bytes,
            measured_hours=told.hours,
            measured_usd=told.usd,
            settled_at=at,
        )
