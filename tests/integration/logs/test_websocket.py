"""The websocket of Ray's clients is open to who may read the job, for as long as they may."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from jobs import World, a_cluster_of, a_job, the_attempt
from people import a_team, a_token

from apps.accounts import services as people
from apps.accounts.models import ApiToken
from apps.jobs import live, logs, websocket
from apps.jobs.logs import Addition

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def nothing_left_open():
    yield
    await sync_to_async(connections.close_all)()


@sync_to_async
def a_followed_job():
    job = a_job(a_cluster_of())
    World().sweep()
    token, attempt = uuid.uuid4(), the_attempt(job)
    logs.take_over(token)
    logs.add(token, [Addition(attempt_id=attempt.pk, byte_from=0, data=b"one\n")])
    return job


async def follow(name, secret, told, *, prefix=""):
    """Put what is sent into `told`, until the connection is closed."""
    scope = {
        "type": "websocket",
        "path": f"{prefix}/api/jobs/{name}/logs/tail",
        "headers": [(b"authorization", b"Bearer " + secret.encode())],
    }
    first = iter([{"type": "websocket.connect"}])

    async def receive():
        for message in first:
            return message
        await asyncio.Event().wait()

    await websocket.application(scope, receive, told.put)


async def kinds(told):
    return [told.get_nowait()["type"].removeprefix("websocket.") for _ in range(told.qsize())]


@pytest.mark.parametrize("name", ["job-%d", "%%d", "job-%d\0", "..", "\0"])
async def test_a_stranger_and_a_name_that_is_none_get_no_connection(name):
    job, told = await a_followed_job(), asyncio.Queue()
    stranger = await sync_to_async(lambda: a_token(a_team()))()
    name = name % job.pk if "%d" in name and "%%" not in name else name
    await follow(name, stranger, told)
    assert await kinds(told) == ["close"]


async def test_a_connection_closes_when_its_token_is_revoked(monkeypatch):
    monkeypatch.setattr(websocket, "RECHECK_S", 0.0)
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    job, told = await a_followed_job(), asyncio.Queue()
    secret = await sync_to_async(lambda: a_token(job.team))()
    following = asyncio.create_task(follow(job.ray_name, secret, told))
    assert (await told.get())["type"] == "websocket.accept"
    assert (await told.get())["text"] == "one\n"
    await sync_to_async(lambda: people.revoke_token(ApiToken.objects.get(), actor="test"))()
    await following
    assert await kinds(told) == ["close"]
