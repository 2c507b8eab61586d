"""Samples, their sums by the minute, and how long they are kept."""

from __future__ import annotations

from celery import shared_task

from apps.insights import services, watch


@shared_task(name="insights.sample", ignore_result=True, time_limit=30)
def sample() -> None:
    """One look at every node of every live cluster."""
    watch.sample()


@shared_task(name="insights.roll_up", ignore_result=True, time_limit=60)
def roll_up() -> None:
    """Sum up the minutes that have passed since the last time."""
    services.roll_up()


@shared_task(name="insights.prune", ignore_result=True, time_limit=300)
def prune() -> None:
    """Forget samples after a week, minutes after a quarter, metrics after half a year."""
    services.prune()
