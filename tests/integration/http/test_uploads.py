"""Who may send a large body: asked before it is read, and nothing of a stranger's is written."""

from __future__ import annotations

import asyncio
import json

import pytest
from django.conf import settings
from django.db import OperationalError
from metrics import an_attempt
from people import a_team, a_token, owner_of

from apps.accounts import access
from apps.accounts.models import ApiToken
from apps.config.asgi import _knows, application
from apps.http.rim import BODY_BYTES
from apps.jobs.selectors import telemetry_token

pytestmark = pytest.mark.django_db(transaction=True)


def a_scope(path="/api/v1/packages", **headers):
    said = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-length", b"%d" % (BODY_BYTES + 1)), *said],
    }


def known(**how):
    return asyncio.run(access.is_known(a_scope(**how)))


def answer_to(scope):
    """Status, headers and document of the whole portal's answer, to one whose body never comes."""
    sent = []

    async def receive():
        assert sent, "the body is read before the answer"
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"])


def test_a_token_that_holds_is_known_and_a_revoked_one_is_not():
    secret = a_token(a_team())
    assert known(authorization=f"Bearer {secret}")
    assert known(x_ray_authorization=f"Bearer {secret}")
    ApiToken.objects.update(revoked_at=ApiToken.objects.get().created_at)
    assert not known(authorization=f"Bearer {secret}")
    assert not known()


def test_a_page_is_sent_to_by_a_session_and_the_api_never(client):
    team = a_team()
    client.force_login(owner_of(team))
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}"
    page = f"/t/{team.slug}/jobs/new/"
    assert known(path=page, cookie=cookie)
    assert not known(cookie=cookie)
    assert not known(path=page)
    assert not known(path=page, cookie=f"{settings.SESSION_COOKIE_NAME}=made-up")
    assert not known(path=page, authorization=f"Bearer {a_token(team)}")
    client.logout()
    assert not known(path=page, cookie=cookie)


def test_a_strangers_large_body_is_answered_before_any_of_it_is_read():
    status, headers, said = answer_to(a_scope(authorization="Bearer rgt_made_up"))
    assert (status, said["code"]) == (401, "unauthenticated")
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"


def test_while_the_database_is_away_nobody_is_called_a_stranger(monkeypatch):
    def away(token):
        raise OperationalError("connection refused")

    monkeypatch.setattr(access, "caller_of_token", away)
    status, headers, said = answer_to(a_scope())
    assert (status, said["code"], headers[b"retry-after"]) == (503, "database_away", b"2")


def test_telemetry_is_sent_by_an_attempts_token_and_by_no_other():
    token = telemetry_token(an_attempt())
    path = "/api/v1/telemetry"
    assert asyncio.run(_knows(a_scope(path, authorization=f"Bearer {token}")))
    assert not asyncio.run(_knows(a_scope(path, authorization=f"Bearer {token[:-1]}")))
    assert not asyncio.run(_knows(a_scope(path, authorization=f"Bearer {a_token(a_team())}")))
    assert not asyncio.run(_knows(a_scope("/api/v1/jobs", authorization=f"Bearer {token}")))
