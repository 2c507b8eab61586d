"""Celery's door to `reconcile`; no logic here."""

from __future__ import annotations

from celery import shared_task
from django.db.models.functions import Now

from apps.clusters import reconcile


@shared_task(name="clusters.reconcile", ignore_result=True, acks_late=True, time_limit=110)
def reconcile_clusters(pk: int | None = None) -> None:
    """The ticker calls it for all that is due, a nudge for one."""
    if pk is None:
        reconcile.sweep(now=Now(), limit=reconcile.MOST, at_once=reconcile.AT_ONCE)
    else:
        reconcile.sweep(now=Now(), pk=pk)


@shared_task(name="clusters.sweep_orphans", ignore_result=True, time_limit=110)
def sweep_orphans() -> None:
    """End what bears our mark and no row wants."""
    reconcile.sweep_orphans()
