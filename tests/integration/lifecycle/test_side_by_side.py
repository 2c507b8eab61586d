"""Work side by side: each in a connection of its own, which it gives back, and none unheard."""

from __future__ import annotations

import logging
import threading

import pytest
from django.db import connection, connections

from apps.lifecycle.side_by_side import each

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_thing_has_its_turn_and_each_thread_gives_its_connection_back():
    own, done = connection.connection, []

    def ask(thing):
        connection.ensure_connection()
        done.append((thing, connections["default"]))

    each(range(4), ask, at_once=4)
    assert sorted(thing for thing, _ in done) == [0, 1, 2, 3]
    assert all(used.connection is None for _, used in done)
    assert connection.connection is own


def test_one_at_a_time_is_in_this_thread():
    threads = []
    each(range(2), lambda _: threads.append(threading.current_thread()))
    assert threads == [threading.current_thread()] * 2


def test_what_fails_is_raised_to_who_waits():
    with pytest.raises(ZeroDivisionError):
        each([1, 0], lambda thing: 1 // thing, at_once=2)


def test_who_is_slow_is_left_behind_and_heard_when_it_fails(caplog):
    go_on, slow, quick = threading.Event(), [], []

    def work(thing):
        if thing:
            quick.append(thing)
            return
        slow.append(threading.current_thread())
        go_on.wait(30)
        raise ValueError("too late")

    each([0, 1], work, at_once=2, wait_s=0.5)
    assert quick == [1]
    with caplog.at_level(logging.ERROR):
        go_on.set()
        slow[0].join(30)
    assert [record.getMessage() for record in caplog.records] == [
        "failed late: ValueError('too late')"
    ]
