"""The ticker: each in its own thread, one at a time over all tickers, none held up by another."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from django.core.management.base import CommandError
from django.db import connection, connections

from apps.config.celery import app
from apps.config.management.commands import ticker
from apps.config.management.commands.ticker import Turn, only_one
from apps.lifecycle.models import Heartbeat

pytestmark = pytest.mark.django_db(transaction=True)
WAIT_S = 30.0


@contextmanager
def turning(*turns: Turn, stop: threading.Event):
    for turn in turns:
        turn.start()
    try:
        yield
    finally:
        stop.set()
        for turn in turns:
            turn.join(WAIT_S)
            assert not turn.is_alive()


def test_of_two_tickers_one_does_it():
    with only_one("jobs.reconcile") as first, only_one("jobs.reconcile") as second:
        assert (first, second) == (True, False)
    with only_one("jobs.reconcile") as again:
        assert again is True


def test_two_names_do_not_wait_for_each_other():
    with only_one("jobs.reconcile") as one, only_one("clusters.reconcile") as other:
        assert (one, other) == (True, True)


def test_the_lock_goes_with_work_that_fails():
    with pytest.raises(ValueError, match="work"), only_one("jobs.reconcile"):
        raise ValueError("work")
    with only_one("jobs.reconcile") as held:
        assert held is True


def test_the_lock_stays_when_the_work_gives_its_own_connection_back():
    with only_one("jobs.reconcile"):
        connection.close()
        with only_one("jobs.reconcile") as second:
            assert second is False


def test_work_that_fails_is_tried_again_and_holds_up_no_other(monkeypatch):
    monkeypatch.setattr(ticker, "_FIRST_BACK_OFF_S", 0.01)
    stop, tries, good, enough = threading.Event(), [], [], threading.Event()

    def bad() -> None:
        tries.append(1)
        if len(tries) == 3 and good:
            enough.set()
        raise RuntimeError("the rim catches it")

    turns = [
        Turn("bad", bad, every_s=0.01, stop=stop),
        Turn("good", lambda: good.append(1), every_s=0.01, stop=stop),
    ]
    with turning(*turns, stop=stop):
        assert enough.wait(WAIT_S)


def test_a_follower_that_ends_or_fails_is_called_again(monkeypatch, settings):
    monkeypatch.setattr(ticker, "_FIRST_BACK_OFF_S", 0.01)
    calls, thrice = [], threading.Event()

    def follow(stop: threading.Event) -> None:
        calls.append(stop)
        if len(calls) == 3:
            thrice.set()
        if len(calls) == 2:
            raise ConnectionError("away")

    settings.FOLLOWERS = ["apps.jobs.follow.follow"]
    monkeypatch.setattr(ticker, "import_string", {"apps.jobs.follow.follow": follow}.__getitem__)
    stop = threading.Event()
    [turn] = ticker._followers(stop)
    with turning(turn, stop=stop):
        assert thrice.wait(WAIT_S)
    assert set(calls) == {stop}


def test_a_tick_calls_the_task_itself_and_needs_no_broker(monkeypatch):
    done = []
    monkeypatch.setitem(app.tasks, "test.tick", lambda: done.append(1))
    monkeypatch.setattr(app.conf, "broker_url", "redis://127.0.0.1:1")
    ticker._tick("test.tick")()
    assert done == [1]


def test_a_tick_of_which_another_ticker_has_the_lock_is_left_out(monkeypatch):
    done = []
    monkeypatch.setitem(app.tasks, "test.tick", lambda: done.append(1))
    with only_one("test.tick"):
        ticker._tick("test.tick")()
    assert done == []


def test_every_tick_of_the_settings_is_a_task(settings):
    names = [turn.name for turn in ticker._ticks(threading.Event())]
    assert names == list(settings.TICKS)


def test_a_tick_that_is_no_task_stops_the_start(settings):
    settings.TICKS = {"jobs.recnocile": 1.0}
    with pytest.raises(CommandError, match=r"names jobs\.recnocile, which is no Celery task"):
        list(ticker._ticks(threading.Event()))


def test_a_thread_that_died_ends_the_ticker():
    stop = threading.Event()
    dead = Turn("jobs.reconcile", lambda: None, every_s=1.0, stop=stop)
    assert ticker._watch([dead], stop) == "jobs.reconcile died"


def test_a_tick_that_hangs_is_named_with_its_place_and_started_anew_beside_the_others(
    monkeypatch, caplog
):
    monkeypatch.setattr(ticker, "_BEAT_S", 0.01)
    stop, called, free = threading.Event(), threading.Event(), threading.Event()
    good, again = [], []

    def hang() -> None:
        called.set()
        free.wait(WAIT_S)

    def work_again() -> None:
        again.append(len(good))
        stop.set()

    monkeypatch.setitem(app.tasks, "test.tick", work_again)
    hanging = Turn("test.tick", hang, every_s=0.01, stop=stop, budget_s=0.05)
    turns = [hanging, Turn("good", lambda: good.append(1), every_s=0.01, stop=stop)]
    with turning(hanging, turns[1], stop=stop):
        assert called.wait(WAIT_S)
        assert ticker._watch(turns, stop) == ""
        free.set()
    turns[0].join(WAIT_S)
    assert (len(again), turns[0] is hanging, bool(good)) == (1, False, True)
    [said] = [record.getMessage() for record in caplog.records if record.action == "tick_stuck"]
    assert said.startswith("test.tick is stuck for 0.05 s")
    assert "test_ticker.py:" in said


def test_with_too_many_that_hang_the_ticker_ends_for_a_fresh_start(monkeypatch):
    monkeypatch.setattr(ticker, "_BEAT_S", 0.01)
    stop, free = threading.Event(), threading.Event()
    monkeypatch.setitem(app.tasks, "test.tick", lambda: free.wait(WAIT_S))
    turns = [
        Turn("test.tick", lambda: free.wait(WAIT_S), every_s=1.0, stop=stop, budget_s=0.0)
        for _ in range(2)
    ]
    with turning(*turns, stop=stop):
        said = ticker._watch(turns, stop)
        free.set()
    for turn in turns:
        turn.join(WAIT_S)
    assert said == f"stuck: {', '.join(['test.tick'] * 4)}"


def test_every_tick_has_a_budget_and_no_follower_has():
    stop = threading.Event()
    assert all(turn.budget_s for turn in ticker._ticks(stop))
    assert not any(turn.budget_s for turn in ticker._followers(stop))


def test_the_ticker_shows_life_and_bears_a_database_that_is_away(monkeypatch, caplog):
    ticker._beat()
    assert Heartbeat.ages_s()["ticker"] < WAIT_S
    host = connections["default"].settings_dict["HOST"]
    connections["default"].close()
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {"connect_timeout": 1})
    monkeypatch.setitem(connections["default"].settings_dict, "HOST", "/nowhere")
    ticker._beat()
    assert [record.action for record in caplog.records] == ["beat_failed"]
    monkeypatch.setitem(connections["default"].settings_dict, "HOST", host)
