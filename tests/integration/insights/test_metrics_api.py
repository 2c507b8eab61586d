"""What a job reported, as its team reads it."""

from __future__ import annotations

import math
from uuid import uuid4

import pytest
from django.test import Client
from jobs import a_cluster_of
from metrics import an_attempt
from people import a_team, a_token, bearer

from apps.accounts.scopes import Scope
from apps.insights import selectors, services
from regatta.telemetry.batch import decode, encode

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_memory_of_other_tests():
    services._key_ids.clear()
    services._told.clear()


def told(attempt, points, *, rank=0, dropped=0):
    body = encode(points, stream=str(uuid4()), seq=1, rank=rank, dropped=dropped)
    services.take_in(decode(body), attempt_id=attempt.pk)


def a_line(key, steps):
    return [(key, step, float(step % 7), 1000.0 + step) for step in steps]


def ask(attempt, query="", *, team=None, scopes=None):
    secret = a_token(team or attempt.job.team, scopes=scopes)
    return Client().get(f"/api/v1/jobs/{attempt.job_id}/metrics{query}", **bearer(secret))


def test_every_series_of_the_latest_attempt_is_there():
    attempt = an_attempt()
    told(attempt, [*a_line("loss", range(3)), ("step_s", 2, 0.25, 9.0)], dropped=5)
    told(attempt, [("step_s", 2, 0.5, 9.0)], rank=1)
    answer = ask(attempt).json()
    assert (answer["job_id"], answer["attempt"], answer["dropped"]) == (attempt.job_id, 1, 5)
    assert [(one["key"], one["rank"], one["points"]) for one in answer["series"]] == [
        ("loss", 0, [[0, 0.0], [1, 1.0], [2, 2.0]]),
        ("step_s", 0, [[2, 0.25]]),
        ("step_s", 1, [[2, 0.5]]),
    ]


def test_keys_and_after_step_narrow_it_down():
    attempt = an_attempt()
    told(attempt, [*a_line("loss", range(5)), *a_line("lr", range(5)), *a_line("x", [1])])
    series = ask(attempt, "?keys=loss,%20lr&after_step=3").json()["series"]
    assert [(one["key"], one["points"], one["count"]) for one in series] == [
        ("loss", [[4, 4.0]], 5),
        ("lr", [[4, 4.0]], 5),
    ]


def test_latest_gives_values_and_no_lines():
    attempt = an_attempt()
    told(attempt, a_line("loss", range(5)))
    [one] = ask(attempt, "?latest=1").json()["series"]
    assert (one["step"], one["value"], one["points"], one["thinned"]) == (4, 4.0, [], False)


def test_a_long_series_is_thinned_to_what_was_asked():
    attempt = an_attempt()
    told(attempt, a_line("loss", range(900)))
    [one] = ask(attempt, "?max_points=50").json()["series"]
    assert (len(one["points"]), one["count"], one["thinned"]) == (50, 900, True)
    assert (one["points"][0], one["points"][-1]) == ([0, 0.0], [899, 3.0])


def test_of_a_very_long_series_the_extremes_are_read(monkeypatch):
    monkeypatch.setattr(selectors, "_READ_AT_ONCE", 20)
    attempt = an_attempt()
    line = [("loss", step, 1.0, 1.0) for step in range(500)]
    line[123] = ("loss", 123, 9.0, 1.0)
    line[321] = ("loss", 321, -9.0, 1.0)
    told(attempt, line)
    [one] = ask(attempt, "?max_points=30").json()["series"]
    assert [123, 9.0] in one["points"]
    assert [321, -9.0] in one["points"]


def test_of_a_step_told_twice_the_later_value_is_shown():
    attempt = an_attempt()
    told(attempt, [("loss", 1, 3.0, 10.0), ("loss", 2, 2.5, 20.0)])
    told(attempt, [("loss", 1, 2.0, 30.0)])
    [one] = ask(attempt).json()["series"]
    assert one["points"] == [[1, 2.0], [2, 2.5]]


def test_what_is_not_finite_is_counted_and_left_out_of_the_line():
    attempt = an_attempt()
    told(attempt, [("loss", 1, 3.0, 1.0), ("loss", 2, math.nan, 1.0), ("loss", 3, math.inf, 1.0)])
    [one] = ask(attempt).json()["series"]
    assert (one["points"], one["not_finite"], one["value"]) == ([[1, 3.0]], 2, None)


def test_a_job_that_told_nothing_has_no_series():
    answer = ask(an_attempt())
    assert (answer.status_code, answer.json()["series"]) == (200, [])


def test_another_team_finds_no_such_job():
    attempt = an_attempt(cluster=a_cluster_of())
    assert ask(attempt, team=a_team()).status_code == 404


def test_the_scope_to_see_jobs_is_needed():
    assert ask(an_attempt(), scopes=[Scope.COST_READ]).status_code == 403


@pytest.mark.parametrize(
    "query", ["?max_points=2", "?max_points=5001", "?after_step=-2", "?attempt=0", "?latest=maybe"]
)
def test_what_makes_no_sense_is_refused(query):
    answer = ask(an_attempt(), query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_an_attempt_that_never_was_is_not_found():
    assert ask(an_attempt(), "?attempt=2").status_code == 404
