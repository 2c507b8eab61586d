"""Asks the Celery worker for a sign of life; `health` tells whether one came."""

from __future__ import annotations

import logging

from celery import shared_task
from django.conf import settings
from kombu.exceptions import OperationalError

from apps.lifecycle.models import Heartbeat

log = logging.getLogger(__name__)

WORKER_LATE_S = 3 * settings.TICKS["web.ask_worker"]


@shared_task(name="web.ask_worker", time_limit=20)
def ask_worker() -> None:
    """Send the worker a beat by the broker, as any nudge goes; old ones do not pile up."""
    try:
        worker_beat.apply_async(expires=WORKER_LATE_S, retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        log.warning("worker not asked: %s", error, extra={"action": "ask_worker_failed"})


@shared_task(name="web.worker_beat", time_limit=20)
def worker_beat() -> None:
    """Note that a worker does what it is told."""
    Heartbeat.beat("worker")
