"""Celery's door to predictions: made when a job is submitted, settled when it has ended."""

from __future__ import annotations

from celery import shared_task

from apps.advisor import score_services


@shared_task(name="advisor.foresee", ignore_result=True, time_limit=60)
def foresee(pk: int | None = None) -> None:
    """What the plan of one job foretells, or of all that have none yet."""
    score_services.foresee(pk)


@shared_task(name="advisor.settle", ignore_result=True, time_limit=120)
def settle() -> None:
    """What those jobs took."""
    score_services.settle()
