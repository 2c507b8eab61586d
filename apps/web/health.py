"""Whether the portal works: a fresh round trip, not "the process is up"."""

from __future__ import annotations

import logging

from celery import current_app
from django.db import Error
from django.http import HttpRequest, JsonResponse
from kombu.exceptions import OperationalError

from apps.accounts.access import PUBLIC, access
from apps.lifecycle.models import Heartbeat
from apps.web.tasks import WORKER_LATE_S

log = logging.getLogger(__name__)

TICKER_LATE_S = 15.0


@access(PUBLIC)
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when database and ticker are well; `degraded` names a broker that is away.

    Without the broker everything still comes to its end, only later; without the others it does
    not: 503.
    """
    return _answer(_parts())


@access(PUBLIC)
def readyz(request: HttpRequest) -> JsonResponse:
    """As `healthz`, and whether a Celery worker does what the broker tells it.

    A worker that is late makes the portal `degraded`, not down: the ticker's sweeps do its work.
    Where nothing can be known of it, it is `unknown`, which is no failure of its own.
    """
    return _answer(_parts(with_worker=True))


def _answer(parts: dict[str, str]) -> JsonResponse:
    works = parts["database"] == parts["ticker"] == "ok"
    state = "ok" if set(parts.values()) == {"ok"} else "degraded" if works else "down"
    return JsonResponse({"state": state, **parts}, status=200 if works else 503)


def _parts(*, with_worker: bool = False) -> dict[str, str]:
    ages_s, broker = _ages_s(), _broker()
    known = ages_s if broker == "ok" else None  # a worker hears of its work by the broker
    parts = {
        "database": "away" if ages_s is None else "ok",
        "broker": broker,
        "ticker": _beats(ages_s, "ticker", TICKER_LATE_S),
    }
    return parts | ({"worker": _beats(known, "worker", WORKER_LATE_S)} if with_worker else {})


def _ages_s() -> dict[str, float] | None:
    """How old the last beats are, by one round trip; None without a database.

    All that is asked of it, since it may go between two questions.
    """
    try:
        return Heartbeat.ages_s()
    except Error as error:
        log.warning("no database: %s", error, extra={"action": "health_database"})
        return None


def _broker() -> str:
    try:
        with current_app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=1)
    except (OperationalError, OSError) as error:
        log.warning("no broker: %s", error, extra={"action": "health_broker"})
        return "away"
    return "ok"


def _beats(ages_s: dict[str, float] | None, name: str, late_s: float) -> str:
    if ages_s is None:
        return "unknown"
    age_s = ages_s.get(name)
    return "ok" if age_s is not None and age_s < late_s else "late"
