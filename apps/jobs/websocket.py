"""The websocket on which Ray's own clients follow a log: `/api/jobs/<id>/logs/tail`.

An ASGI application beside Django's, which knows no websockets: text frames as the log grows, then
a close with 1000, as from Ray itself.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.http import HttpRequest

from apps.accounts.access import bearer_token
from apps.accounts.scopes import Scope
from apps.accounts.selectors import caller_of_token
from apps.jobs import live, selectors
from apps.jobs.live import Over, Text

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_PATH = re.compile(
    r"(?:/api/v1/clusters/([0-9]{1,18})/ray)?/api/jobs/([A-Za-z0-9_.:-]{1,200})/logs/tail"
)
RECHECK_S = 30.0  # whether whoever follows still may
_DONE, _NOT_ALLOWED = 1000, 4403  # before the handshake a close is answered as 403


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """One connection, from its handshake to its close."""
    if (await receive())["type"] != "websocket.connect":
        return
    job_id = await live.in_thread(lambda: _job_id(scope))
    if job_id is None:
        await send({"type": "websocket.close", "code": _NOT_ALLOWED})
        return
    await send({"type": "websocket.accept"})
    telling = asyncio.create_task(_tell(scope, job_id, send))
    left = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait({telling, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left.cancel()
        telling.cancel()
        await asyncio.gather(telling, left, return_exceptions=True)


def _job_id(scope: Message) -> int | None:
    """The job that the path names, if its bearer may read it."""
    parts = _PATH.fullmatch(scope["path"])
    caller = caller_of_token(bearer_token(_request(scope)))
    if parts is None or caller is None or Scope.JOBS_READ not in caller.scopes:
        return None
    job = selectors.job_by_ray_name(caller.team, parts[2])
    if job is None or (parts[1] and job.cluster_id != int(parts[1])):
        return None
    return job.pk


def _request(scope: Message) -> HttpRequest:
    """The handshake as a request, for its headers."""
    request = HttpRequest()
    for name, value in scope["headers"]:
        request.META["HTTP_" + name.decode("latin-1").upper().replace("-", "_")] = value.decode(
            "latin-1"
        )
    return request


async def _tell(scope: Message, job_id: int, send: Send) -> None:
    checked_s = time.monotonic()
    async for news in live.follow(job_id):
        if time.monotonic() - checked_s > RECHECK_S:
            if await live.in_thread(lambda: _job_id(scope)) != job_id:
                await send({"type": "websocket.close", "code": _NOT_ALLOWED})
                return
            checked_s = time.monotonic()
        if isinstance(news, Text):
            await send({"type": "websocket.send", "text": news.piece.text})
        elif isinstance(news, Over):
            await send({"type": "websocket.close", "code": _DONE})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass
