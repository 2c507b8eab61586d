"""Chores of the HTTP layer."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.db.models.functions import Now

from apps.http.models import KeptAnswer

KEPT = timedelta(days=7)


@shared_task(name="http.prune", time_limit=60)
def prune() -> None:
    """Forget answers that no client will ask for again."""
    KeptAnswer.objects.filter(at__lt=Now() - KEPT).delete()
