"""Celery's doors to `reconcile`; no logic here."""

from __future__ import annotations

from celery import shared_task
from django.db.models.functions import Now

from apps.jobs import packages, reconcile
from apps.jobs.places import place_of


@shared_task(name="jobs.reconcile", ignore_result=True, acks_late=True, time_limit=170)
def reconcile_attempts(pk: int | None = None) -> None:
    """The ticker calls it for all that is due, a nudge for one."""
    reconcile.sweep(places=place_of, now=Now(), pk=pk, at_once=reconcile.AT_ONCE)


@shared_task(name="jobs.stop_strays", ignore_result=True, acks_late=True, time_limit=170)
def stop_strays() -> None:
    """A chore: what runs on a cluster though nobody wants it any more is ended."""
    reconcile.stop_strays(places=place_of)


@shared_task(name="jobs.prune", ignore_result=True, acks_late=True, time_limit=170)
def prune() -> None:
    """A chore: what no row stands for any more is dropped."""
    packages.prune()
