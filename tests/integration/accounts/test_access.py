"""Nobody gets in who should not."""

from __future__ import annotations

import pytest
from people import a_team, a_token, bearer

pytestmark = pytest.mark.django_db


def test_a_token_opens_the_api(client):
    team = a_team()
    answer = client.get("/api/v1/me", **bearer(a_token(team)))
    assert answer.status_code == 200
    assert answer.json()["team"] == team.slug


def test_without_a_token_the_api_answers_401(client):
    answer = client.get("/api/v1/me")
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
