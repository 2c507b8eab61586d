"""What the portal says of its own parts: away is down or degraded, unknown is neither's fault."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
)
from django.db.models.functions import Now
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerAway
from people import a_user

from apps.config.celery import app
from apps.lifecycle.models import Heartbeat
from apps.web import health, tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker(monkeypatch):
    """One in this process's memory."""
    monkeypatch.setattr(app, "connection_for_write", lambda **how: Connection("memory://"))
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    with app.connection_for_write() as here:
        yield here.default_channel


def beat(name, *, ago_s=0.0):
    Heartbeat.beat(name)
    Heartbeat.objects.filter(name=name).update(at=Now() - timedelta(seconds=ago_s))


def asked(client, path="/readyz"):
    answer = client.get(path)
    return answer.status_code, answer.json()


def test_all_is_well_when_ticker_and_worker_were_seen_just_now(client, broker):
    beat("ticker")
    beat("worker")
    parts = {"database": "ok", "broker": "ok", "ticker": "ok"}
    assert asked(client, "/healthz") == (200, {"state": "ok"} | parts)
    assert asked(client) == (200, {"state": "ok"} | parts | {"worker": "ok"})


@pytest.mark.parametrize("seen", [None, tasks.WORKER_LATE_S + 1])
def test_a_worker_that_does_nothing_degrades_the_portal_that_works_by_its_sweeps(
    client, broker, seen
):
    beat("ticker")
    if seen:
        beat("worker", ago_s=seen)
    status, said = asked(client)
    assert (status, said["state"], said["worker"]) == (200, "degraded", "late")


def test_without_a_broker_nothing_is_known_of_the_worker(client, monkeypatch):
    beat("ticker")
    beat("worker", ago_s=3600)
    monkeypatch.setattr(health, "_broker", lambda: "away")
    status, said = asked(client)
    assert (status, said["state"], said["worker"]) == (200, "degraded", "unknown")


def test_a_late_ticker_is_down_whatever_the_worker_does(client, broker):
    beat("ticker", ago_s=health.TICKER_LATE_S + 1)
    beat("worker")
    status, said = asked(client)
    assert (status, said["state"], said["ticker"]) == (503, "down", "late")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("error", [OperationalError, InterfaceError, ProgrammingError])
@pytest.mark.parametrize("at", range(2))
def test_a_database_that_goes_at_any_moment_is_told_in_json(
    client, broker, monkeypatch, path, error, at
):
    client.force_login(a_user())
    client.raise_request_exception = False
    rest, cursor = iter(range(at)), connection.cursor

    def going():
        if next(rest, None) is None:
            raise error("the database system is shutting down")
        return cursor()

    monkeypatch.setattr(connection, "cursor", going)
    status, said = asked(client, path)
    assert (status, said["state"]) == (503, "down")


def test_without_the_database_all_is_unknown_and_nothing_fails(client, broker, monkeypatch):
    def away():
        raise DatabaseError("gone")

    monkeypatch.setattr(connection, "cursor", away)
    status, said = asked(client)
    assert (status, said["state"]) == (503, "down")
    assert (said["database"], said["ticker"], said["worker"]) == ("away", "unknown", "unknown")


def test_the_ticker_asks_by_the_broker_and_the_worker_answers_in_the_database(broker):
    tasks.ask_worker()
    message = broker.basic_get("celery")
    assert message.headers["task"] == "web.worker_beat"
    assert message.headers["expires"], "a worker that comes back does not work off old beats"
    app.tasks[message.headers["task"]]()
    assert Heartbeat.ages_s()["worker"] < tasks.WORKER_LATE_S


def test_a_broker_that_is_away_is_no_trouble_of_the_tick(monkeypatch):
    def away(**how):
        raise BrokerAway("refused")

    monkeypatch.setattr(tasks.worker_beat, "apply_async", away)
    tasks.ask_worker()
