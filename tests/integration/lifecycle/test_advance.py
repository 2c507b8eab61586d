"""One door to `state`, and it holds under races."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from celery import Celery
from clusters import a_cluster
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from kombu.exceptions import OperationalError

from apps.clusters.models import Cluster
from apps.lifecycle import nudge as nudging
from apps.lifecycle.models import TROUBLES_TO_ATTENTION, Event, Heartbeat, IllegalMove
from apps.lifecycle.nudge import nudge

LEASE = timedelta(seconds=30)
TO = "provisioning"


def in_threads(count, work):
    """Run `work(i)` in `count` threads that start together; close their connections."""
    gate = Barrier(count)

    def body(i):
        gate.wait()
        try:
            return work(i)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(body, range(count)))


@pytest.mark.django_db
def test_the_second_of_two_workers_is_refused():
    a_cluster()
    one, two = Cluster.objects.get(), Cluster.objects.get()
    assert one.advance(TO, reason="start_asked") is True
    assert two.advance(TO, reason="start_asked") is False
    assert Event.objects.count() == 1
    assert Cluster.objects.get().generation == 1


@pytest.mark.django_db(transaction=True)
def test_one_of_eight_racing_workers_wins_the_move():
    pk = a_cluster().pk
    rows = [Cluster.objects.get(pk=pk) for _ in range(8)]
    won = in_threads(8, lambda i: rows[i].advance(TO, reason="start_asked"))
    assert sorted(won) == [False] * 7 + [True]
    assert [(event.seq, event.new) for event in Event.objects.all()] == [(1, TO)]


@pytest.mark.django_db(transaction=True)
def test_no_row_is_leased_twice_and_none_is_left_out():
    every = sorted(a_cluster().pk for _ in range(20))

    def lease_all(_):
        got = []
        while rows := Cluster.objects.claim_due(now=Now(), lease=LEASE, limit=3):
            got += [row.pk for row in rows]
        return got

    assert sorted(pk for got in in_threads(4, lease_all) for pk in got) == every


@pytest.mark.django_db
def test_a_worker_that_lost_its_lease_cannot_release_it():
    a_cluster()
    now = timezone.now()
    [slow] = Cluster.objects.claim_due(now=now, lease=LEASE, limit=1)
    [other] = Cluster.objects.claim_due(now=now + 2 * LEASE, lease=LEASE, limit=1)
    slow.release(next_look_at=None)
    assert Cluster.objects.get().lease_token == other.lease_token


@pytest.mark.django_db
def test_an_illegal_move_raises_and_leaves_no_event():
    cluster = a_cluster()
    with pytest.raises(IllegalMove):
        cluster.advance("ready", reason="x")
    assert Event.objects.count() == 0


@pytest.mark.django_db
def test_the_database_refuses_an_unknown_state():
    cluster = a_cluster()
    with pytest.raises(IntegrityError), transaction.atomic():
        Cluster.objects.filter(pk=cluster.pk).update(state="lost in space")


@pytest.mark.django_db
def test_trouble_waits_longer_each_time_keeps_the_state_and_says_since_when():
    a_cluster()
    now = timezone.now()
    waits, since = [], set()
    for _ in range(TROUBLES_TO_ATTENTION):
        [row] = Cluster.objects.claim_due(now=now, lease=LEASE, limit=1)
        row.note_trouble(ConnectionError("no route"), now=now)
        row.refresh_from_db()
        waits.append((row.next_look_at - now).total_seconds())
        since.add(row.unknown_since)
        now = row.next_look_at
    assert waits == [1, 2, 4, 8, 16]
    assert (row.state, len(since), row.needs_attention) == ("requested", 1, True)
    assert row.trouble == "ConnectionError: no route"


@pytest.mark.django_db
def test_a_good_look_ends_the_trouble():
    a_cluster()
    now = timezone.now()
    [row] = Cluster.objects.claim_due(now=now, lease=LEASE, limit=1)
    row.note_trouble(ConnectionError(), now=now)
    [row] = Cluster.objects.claim_due(now=now + LEASE, lease=LEASE, limit=1)
    row.release(next_look_at=now)
    row.refresh_from_db()
    assert (row.troubles, row.trouble, row.unknown_since) == (0, "", None)


@pytest.mark.django_db
def test_a_nudge_waits_for_the_commit(monkeypatch, django_capture_on_commit_callbacks):
    sent = []
    monkeypatch.setattr(Celery, "send_task", lambda _, name, **kw: sent.append((name, kw["args"])))
    with django_capture_on_commit_callbacks(execute=True):
        nudge("jobs.reconcile", 7)
        assert sent == []
    assert sent == [("jobs.reconcile", [7])]


@pytest.mark.django_db
def test_a_broker_that_is_away_is_asked_once_and_then_left_alone(
    monkeypatch, django_capture_on_commit_callbacks
):
    asked = []

    def away(*args, **kwargs):
        asked.append(args)
        raise OperationalError("refused")

    monkeypatch.setattr(Celery, "send_task", away)
    monkeypatch.setattr(nudging, "_rests_until", 0.0)
    with django_capture_on_commit_callbacks(execute=True):
        nudge("jobs.reconcile", 7)
        nudge("jobs.reconcile", 8)
    assert len(asked) == 1


@pytest.mark.django_db
def test_a_heart_beats_by_the_clock_of_the_database():
    Heartbeat.beat("ticker")
    Heartbeat.beat("ticker")
    assert list(Heartbeat.ages_s()) == ["ticker"]
    assert 0 <= Heartbeat.ages_s()["ticker"] < 5
