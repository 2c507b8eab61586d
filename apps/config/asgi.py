"""The portal as one ASGI application."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Awaitable, Callable, MutableMapping
from io import BytesIO
from typing import Any

import django
from django.core.handlers.asgi import ASGIRequest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")

django.setup(set_prefix=False)  # before what needs the apps

from apps.accounts.access import bearer_token, is_known  # noqa: E402
from apps.http.handler import Handler  # noqa: E402
from apps.http.rim import bounded  # noqa: E402
from apps.jobs import live, selectors, websocket  # noqa: E402

with contextlib.suppress(ValueError, OSError):  # each connection is an open file
    _, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_most, _most))


async def _knows(scope: MutableMapping[str, Any]) -> bool:
    """By the token of a job's attempt where jobs send, else by an API token or a session."""
    if scope["path"] != "/api/v1/telemetry":
        return await is_known(scope)
    token = bearer_token(ASGIRequest(scope, BytesIO()))
    return bool(await live.in_thread(lambda: selectors.attempt_of_telemetry_token(token)))


_bounded = bounded(Handler(), knows=_knows)  # type: ignore[arg-type]


async def application(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Ray's clients follow a log by websocket; the rest is Django's."""
    if scope["type"] == "websocket":
        await websocket.application(scope, receive, send)
    else:
        await _bounded(scope, receive, send)
