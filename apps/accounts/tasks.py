"""Chores about people."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.contrib.sessions.models import Session
from django.db.models.functions import Now

from apps.accounts.models import OneTimeLink, SignInTrouble

KEPT = timedelta(days=1)


@shared_task(name="accounts.prune", time_limit=60)
def prune() -> None:
    """Forget what has expired: sessions, links, failed sign-ins."""
    Session.objects.filter(expire_date__lt=Now()).delete()
    OneTimeLink.objects.filter(expires_at__lt=Now() - KEPT).delete()
    SignInTrouble.objects.filter(until__lt=Now() - KEPT).delete()
