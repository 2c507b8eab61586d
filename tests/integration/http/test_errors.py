"""Errors are told in the form of the address, and never ask a database that is away."""

from __future__ import annotations

import pytest
from django.db import OperationalError
from django.test import Client
from people import a_team, a_token, bearer, owner_of

from apps.accounts import selectors

pytestmark = pytest.mark.django_db


def test_an_unknown_address_is_a_problem_under_api_and_a_page_elsewhere(client):
    answer = client.get("/api/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    page = client.get("/nothing")
    assert (page.status_code, page["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_a_database_that_is_away_answers_503_in_either_form(monkeypatch):
    team = a_team()
    secret, client = a_token(team), Client(raise_request_exception=False)
    client.force_login(owner_of(team))

    def away(*args, **kwargs):
        raise OperationalError("connection refused")

    monkeypatch.setattr(selectors, "_held", away)
    answer = client.get("/api/v1/me", **bearer(secret))
    assert (answer.status_code, answer.json()["code"]) == (503, "database_away")
    assert answer["Retry-After"] == "2"
    page = client.get(f"/t/{team.slug}/")
    assert (page.status_code, page["Retry-After"]) == (503, "2")
    assert "database is away" in page.content.decode()


def test_browsers_find_the_icon_where_they_look_for_it(client):
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer["Location"]) == (302, "/static/img/favicon.svg")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/api/v1/me", "GET"), ("/api/jobs/", "GET, POST"), ("/api/v1/telemetry", "POST")],
)
def test_a_method_that_an_address_does_not_take_is_a_problem_too(client, path, allowed):
    answer = client.patch(path, **bearer(a_token(a_team())))
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Allow"] == allowed
