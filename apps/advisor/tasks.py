"""Celery's doors to searches of plans, and to predictions of jobs that run by one."""

from __future__ import annotations

from celery import shared_task
from django.db.models.functions import Now

from apps.advisor import score_services, search_services
from apps.lifecycle.nudge import nudge


@shared_task(name=search_services.SEARCH, ignore_result=True, acks_late=True, time_limit=240)
def search(pk: int | None = None) -> None:
    """One search; what else waits is for the next turn, so that no worker is taken for long."""
    # A worker takes what was just asked; the ticker only what no worker came for.
    now = Now() if pk is None else Now() + search_services.PATIENCE
    if search_services.search_next(now=now):
        nudge(search_services.SEARCH, 0)


@shared_task(name="advisor.prune", ignore_result=True, time_limit=60)
def prune() -> None:
    """A chore: old searches are forgotten."""
    search_services.prune(now=Now())


@shared_task(name="advisor.foresee", ignore_result=True, time_limit=60)
def foresee(pk: int | None = None) -> None:
    """What the plan of one job foretells, or of all that have none yet."""
    score_services.foresee(pk)


@shared_task(name="advisor.settle", ignore_result=True, time_limit=120)
def settle() -> None:
    """What those jobs took."""
    score_services.settle()
