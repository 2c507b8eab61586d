"""A log is read in parts and searched by API, within bounds."""

from __future__ import annotations

import uuid

import pytest
from django.test import Client
from jobs import World, a_cluster_of, a_job, the_attempt
from people import a_team, a_token, bearer

from apps.jobs import logs
from apps.jobs.logs import Addition

pytestmark = pytest.mark.django_db
LOG = b"step 1 loss 4.2\nStep 2 loss 3.9\r\nTraceback (most recent call last):\n\x00caf\xc3\xa9"


@pytest.fixture
def attempt():
    job = a_job(a_cluster_of())
    World().sweep()
    attempt = the_attempt(job)
    token = uuid.uuid4()
    logs.take_over(token)
    logs.add(token, [Addition(attempt_id=attempt.pk, byte_from=0, data=LOG)])
    return attempt


def ask(of, path="", *, team=None, **query):
    secret = a_token(team or of.job.team)
    address = f"/api/v1/jobs/{of.job_id}/logs{path}"
    return Client().get(address, query, **bearer(secret))


def found(attempt, q, **query):
    answer = ask(attempt, "/search", q=q, **query)
    assert answer.status_code == 200, answer.content
    return [(line["number"], line["byte_from"], line["text"]) for line in answer.json()["lines"]]


def test_a_part_of_the_log_comes_as_plain_text_with_the_place_to_go_on(attempt):
    answer = ask(attempt, **{"from": 5, "limit": 10})
    assert answer.content == LOG[5:15]
    assert (answer["X-Log-To"], answer["X-Log-Bytes"], answer["X-Log-Ending"]) == (
        "15",
        str(len(LOG)),
        "",
    )
    assert answer["Content-Type"] == "text/plain; charset=utf-8"


def test_beyond_the_end_there_is_nothing_yet(attempt):
    answer = ask(attempt, **{"from": 10_000})
    assert (answer.status_code, answer.content, answer["X-Log-To"]) == (200, b"", "10000")


@pytest.mark.parametrize("query", [{"from": -1}, {"limit": 0}, {"limit": 1 << 40}])
def test_a_range_that_is_none_is_refused(attempt, query):
    assert ask(attempt, **query).json()["code"] == "bad_range"


@pytest.mark.parametrize("path", ["", "/search?q=a", "/stream"])
def test_another_teams_log_is_not_there(attempt, path):
    assert ask(attempt, path, team=a_team()).status_code == 404


def test_an_attempt_that_is_none_has_no_log(attempt):
    assert ask(attempt, attempt=2).status_code == 404


def test_words_are_found_in_any_case_with_their_line_and_place(attempt):
    assert found(attempt, "STEP") == [(1, 0, "step 1 loss 4.2"), (2, 16, "Step 2 loss 3.9")]
    assert found(attempt, "café") == [(4, 68, "\ufffdcafé")]


def test_an_expression_is_matched_line_by_line(attempt):
    assert found(attempt, r"loss [0-3]\.", regex="true") == [(2, 16, "Step 2 loss 3.9")]
    assert found(attempt, "loss.*Traceback", regex="true") == []


def test_a_line_of_many_pieces_counts_by_its_beginning(attempt):
    token, begin = uuid.uuid4(), len(LOG)
    logs.Log.objects.update(lease_until=None)
    logs.take_over(token)
    long = b"\nneedle " + b"x" * (1 << 20) + b" pin\nlast needle"
    logs.add(token, [Addition(attempt_id=attempt.pk, byte_from=begin, data=long)])
    [first, last] = found(attempt, "needle")
    assert (first[:2], len(first[2])) == ((5, begin + 1), 2000)
    assert last == (6, begin + len(long) - len(b"last needle"), "last needle")
    assert found(attempt, "pin") == []


def test_no_more_lines_than_asked_for_come(attempt):
    answer = ask(attempt, "/search", q="loss", limit=1).json()
    assert ([line["number"] for line in answer["lines"]], answer["complete"]) == ([1], False)


@pytest.mark.parametrize("q", ["", "x" * 201])
def test_words_of_a_wrong_length_are_refused(attempt, q):
    assert ask(attempt, "/search", q=q).json()["code"] == "bad_search"


@pytest.mark.parametrize("q", ["(", "a{2,1}"])
def test_a_wrong_expression_is_refused_in_words(attempt, q):
    answer = ask(attempt, "/search", q=q, regex="true")
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_expression")
