"""The portal as one ASGI application."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")

django.setup(set_prefix=False)  # before what needs the apps

from apps.accounts.access import is_known  # noqa: E402
from apps.http.handler import Handler  # noqa: E402
from apps.http.rim import bounded  # noqa: E402
from apps.jobs import websocket  # noqa: E402

_bounded = bounded(Handler(), knows=is_known)  # type: ignore[arg-type]


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
