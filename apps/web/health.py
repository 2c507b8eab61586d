"""Whether the portal works: a fresh round trip, not "the process is up"."""

from __future__ import annotations

import logging

from celery import current_app
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from kombu.exceptions import OperationalError

from apps.accounts.access import PUBLIC, access
from apps.lifecycle.models import Heartbeat

log = logging.getLogger(__name__)

TICKER_LATE_S = 15.0


@access(PUBLIC)
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when database and ticker are well; `degraded` names a broker that is away.

    Without the broker everything still comes to its end, only later; without the others it does
    not: 503.
    """
    parts = {"database": _database(), "broker": _broker()}
    parts["ticker"] = _ticker() if parts["database"] == "ok" else "unknown"
    works = parts["database"] == parts["ticker"] == "ok"
    state = "ok" if set(parts.values()) == {"ok"} else "degraded" if works else "down"
    return JsonResponse({"state": state, **parts}, status=200 if works else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        log.warning("no database: %s", error, extra={"action": "health_database"})
        return "away"
    return "ok"


def _broker() -> str:
    try:
        with current_app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=1)
    except (OperationalError, OSError) as error:
        log.warning("no broker: %s", error, extra={"action": "health_broker"})
        return "away"
    return "ok"


def _ticker() -> str:
    age_s = Heartbeat.ages_s().get("ticker")
    return "ok" if age_s is not None and age_s < TICKER_LATE_S else "late"
