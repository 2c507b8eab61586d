"""Wake a reconciler for one row, or the open pages that show it, after commit.

A lost nudge is harmless: the sweep finds the row, and a page asks again.
"""

from __future__ import annotations

import logging
import time
from functools import partial

from celery import current_app
from django.db import connection, transaction
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

CHANNEL = "regatta"
_REST_S = 5.0  # after a broker's refusal, so that a request never waits for it twice
_rests_until = 0.0


def nudge(task: str, pk: int) -> None:
    """Send the task named `task` for row `pk` once the present transaction has committed."""
    transaction.on_commit(partial(_send, task, pk))


def announce(subject: str) -> None:
    """Tell listening web processes that `subject` has changed, once this transaction commits.

    Source: PostgreSQL delivers NOTIFY at commit, and equal payloads of a transaction once.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, subject])


def _send(task: str, pk: int) -> None:
    global _rests_until
    if time.monotonic() < _rests_until:
        return
    try:
        current_app.send_task(task, args=[pk], ignore_result=True, retry=False)
    except (OperationalError, OSError) as error:
        _rests_until = time.monotonic() + _REST_S
        log.warning("no nudge: %s", error, extra={"action": "nudge_failed", "task": task})
