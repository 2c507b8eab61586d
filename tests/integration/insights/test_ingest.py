"""Metrics arrive whole, once, and by right alone."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.db.models import Sum
from django.db.models.functions import Now
from django.test import Client
from metrics import an_attempt

from apps.insights import charts, selectors, services
from apps.insights.models import MetricKey, MetricPoint, SeriesHead, TelemetryStream
from apps.jobs import selectors as jobs
from regatta.telemetry.batch import MOST_BYTES, encode

STREAM = UUID(int=7)


@pytest.fixture(autouse=True)
def no_memory_of_other_tests():
    services._key_ids.clear()
    services._told.clear()


def points(count, *, key="loss", start=0):
    return [(key, step, float(step), 1000.0 + step) for step in range(start, start + count)]


def send(attempt, body, *, token=None):
    token = token or jobs.telemetry_token(attempt)
    return Client(headers={"Authorization": f"Bearer {token}"}).post(
        "/api/v1/telemetry", data=body, content_type="application/json"
    )


def a_batch(some, *, seq=1, stream=STREAM, rank=0, dropped=0):
    return encode(some, stream=str(stream), seq=seq, rank=rank, dropped=dropped)


def nothing_stored():
    return not any(
        model.objects.exists() for model in (MetricKey, MetricPoint, SeriesHead, TelemetryStream)
    )


@pytest.mark.django_db
def test_a_batch_is_stored_with_all_it_says():
    attempt = an_attempt()
    answer = send(attempt, a_batch([("loss", 3, 2.5, 10.25)], rank=2, dropped=4))
    assert (answer.status_code, answer.json()) == (200, {"stored": 1})
    stream, point = TelemetryStream.objects.get(), MetricPoint.objects.get()
    assert (stream.rank, stream.last_seq, stream.dropped, stream.points) == (2, 1, 4, 1)
    key = MetricKey.objects.get(name="loss")
    assert (point.attempt_id, point.key_id, point.step) == (attempt.pk, key.pk, 3)
    assert (point.rank, point.value, point.at.timestamp()) == (2, 2.5, 10.25)


@pytest.mark.django_db
def test_a_repeated_batch_is_stored_once_and_welcome():
    attempt, body = an_attempt(), a_batch(points(5))
    answers = [send(attempt, body) for _ in range(3)]
    assert [answer.json() for answer in answers] == [{"stored": 5}, {"stored": 0}, {"stored": 0}]
    assert MetricPoint.objects.count() == SeriesHead.objects.get().points == 5


@pytest.mark.django_db
def test_a_gap_in_the_numbers_is_no_trouble_but_an_older_batch_is():
    attempt = an_attempt()
    assert send(attempt, a_batch(points(1), seq=1)).status_code == 200
    assert send(attempt, a_batch(points(1), seq=5)).status_code == 200
    answer = send(attempt, a_batch(points(1), seq=3))
    assert (answer.status_code, answer.json()["code"]) == (409, "out_of_order")
    assert MetricPoint.objects.count() == 2


@pytest.mark.django_db
def test_the_same_step_told_twice_is_kept_twice_and_the_later_counts():
    attempt = an_attempt()
    send(attempt, a_batch([("loss", 1, 9.0, 1.0), ("loss", 1, 8.0, 1.0)]))
    send(attempt, a_batch([("loss", 1, 7.0, 1.0)], stream=uuid4()))
    assert sorted(MetricPoint.objects.values_list("value", flat=True)) == [7.0, 8.0, 9.0]
    assert SeriesHead.objects.get().value == 7.0


@pytest.mark.django_db
def test_a_head_tells_the_first_and_the_latest_point_of_a_series():
    attempt = an_attempt()
    for seq, start in [(1, 10), (2, 20)]:
        send(attempt, a_batch(points(10, start=start), seq=seq))
    head = SeriesHead.objects.get()
    assert (head.points, head.first_step, head.first_value) == (20, 10, 10.0)
    assert (head.step, head.value, head.at.timestamp()) == (29, 29.0, 1029.0)


@pytest.mark.django_db
def test_values_that_are_not_finite_are_kept_as_what_they_are():
    attempt = an_attempt()
    send(attempt, a_batch([("loss", 1, math.nan, 1.0), ("loss", 2, math.inf, 1.0)]))
    first, second = MetricPoint.objects.order_by("step").values_list("value", flat=True)
    assert math.isnan(first)
    assert second == math.inf


@pytest.mark.django_db
def test_the_job_learns_how_far_it_is():
    attempt = an_attempt()
    told = [("total_steps", 4, 300.0, 1.0), ("loss", 4, 3.5, 1.0), ("loss", 5, 3.25, 1.0)]
    send(attempt, a_batch([*told, ("val_loss", 5, math.nan, 1.0)]))
    attempt.job.refresh_from_db()
    known = attempt.job.progress
    assert (known["step"], repr(known["total_steps"]), known["loss"]) == (5, "300", 3.25)
    assert "val_loss" not in known


BAD = [
    b"",
    b"{}",
    b"[1, 2",
    a_batch(points(3)).replace(b"[0,1,", b"[7,1,"),
    a_batch(points(3)).replace(b'"loss"', b'"lo ss"'),
    a_batch(points(3)).replace(b'"seq":1', b'"seq":0'),
    a_batch(points(3)).replace(b'"rank"', b'"rang"'),
    json.dumps({"stream": str(STREAM), "seq": 1, "keys": ["loss"], "points": []}).encode(),
]


@pytest.mark.django_db
@pytest.mark.parametrize("body", BAD)
def test_a_malformed_batch_is_refused_and_changes_nothing(body):
    attempt = an_attempt()
    answer = send(attempt, body)
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    assert answer.json()["code"] == "malformed_batch"
    assert nothing_stored()
    attempt.job.refresh_from_db()
    assert attempt.job.progress == {}


@pytest.mark.django_db
def test_a_batch_that_is_too_large_is_refused():
    answer = send(an_attempt(), b" " * (MOST_BYTES + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert nothing_stored()


@pytest.mark.django_db
def test_more_series_than_anybody_looks_at_are_refused(monkeypatch):
    monkeypatch.setattr(services, "MOST_SERIES", 3)
    attempt = an_attempt()
    assert send(attempt, a_batch([(f"k{i}", 1, 1.0, 1.0) for i in range(3)])).status_code == 200
    answer = send(attempt, a_batch([("k3", 1, 1.0, 1.0)], seq=2))
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_series")
    assert MetricPoint.objects.count() == 3
    assert TelemetryStream.objects.get().last_seq == 1
    assert send(attempt, a_batch([("k0", 2, 1.0, 1.0)], seq=2)).status_code == 200


@pytest.mark.django_db
def test_only_the_token_of_a_live_attempt_opens_the_door():
    attempt, other = an_attempt(), an_attempt()
    token = jobs.telemetry_token(attempt)
    forged = jobs.telemetry_token(other).replace(f"_{other.pk}_", f"_{attempt.pk}_")
    for wrong in ["x", forged, token[:-1], token.upper()]:
        assert send(attempt, a_batch(points(1)), token=wrong).status_code == 401
    assert nothing_stored()


@pytest.mark.django_db
def test_an_attempt_that_ended_long_ago_writes_no_more():
    attempt = an_attempt(state="failed", ended_minutes_ago=3)
    assert send(attempt, a_batch(points(1))).status_code == 401
    assert nothing_stored()


@pytest.mark.django_db
def test_what_an_attempt_held_back_when_it_ended_still_arrives():
    attempt = an_attempt(state="failed", ended_minutes_ago=1)
    assert send(attempt, a_batch(points(1))).status_code == 200


@pytest.mark.django_db
def test_metrics_are_posted_and_nothing_else():
    assert Client().get("/api/v1/telemetry").status_code == 405


@pytest.mark.django_db(transaction=True)
def test_many_streams_at_once_lose_and_double_nothing():
    attempt = an_attempt()

    def one_stream(rank):
        stream = uuid4()
        try:
            for seq in range(1, 11):
                some = [*points(20, start=20 * seq), *points(20, key=f"own{rank}")]
                body = a_batch(some, seq=seq, stream=stream, rank=rank % 2)
                for _ in range(2):  # the first answer is lost on the way
                    assert send(attempt, body).status_code == 200
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one_stream, range(6)))
    assert MetricPoint.objects.count() == 6 * 10 * 40
    assert SeriesHead.objects.aggregate(all=Sum("points"))["all"] == 6 * 10 * 40
    assert TelemetryStream.objects.aggregate(all=Sum("points"))["all"] == 6 * 10 * 40


@pytest.mark.django_db(transaction=True)
def test_the_same_batch_from_two_sides_at_once_is_stored_once():
    attempt, body = an_attempt(), a_batch(points(500))

    def deliver(_):
        try:
            return send(attempt, body).json()["stored"]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(deliver, range(4))) == [0, 0, 0, 500]
    assert MetricPoint.objects.count() == 500


@pytest.mark.django_db
def test_metrics_are_forgotten_half_a_year_after_the_last_word_but_for_first_and_last():
    old, young = an_attempt(), an_attempt()
    for attempt in (old, young):
        send(attempt, a_batch(points(5)))
    past = Now() - services.METRICS_KEPT
    TelemetryStream.objects.filter(attempt_id=old.pk).update(last_at=past - timedelta(minutes=1))
    TelemetryStream.objects.filter(attempt_id=young.pk).update(last_at=past + timedelta(hours=1))
    for _ in range(2):
        services.prune()
    assert list(MetricPoint.objects.values_list("attempt_id", flat=True)) == [young.pk] * 5
    [head] = selectors.heads(old.pk)
    [chart] = charts.job_charts([selectors.series(head)])
    assert (head.points, len(chart.rows)) == (5, 0)
    assert chart.notes == ["The values between were kept for half a year, and are forgotten."]
