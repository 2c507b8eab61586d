"""Builders of metrics and of the attempts that they belong to."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from jobs import a_job, the_attempt

from apps.jobs.models import Attempt


def an_attempt(*, state="running", ended_minutes_ago=None, **of_job):
    """A job's attempt, by its own word in this state."""
    attempt = the_attempt(a_job(**of_job))
    fields = {"state": state}
    if ended_minutes_ago is not None:
        fields["ended_at"] = timezone.now() - timedelta(minutes=ended_minutes_ago)
    Attempt.objects.filter(pk=attempt.pk).update(**fields)
    attempt.refresh_from_db()
    return attempt
