"""What is refused before anything is done with it: endless bodies, and bad addresses."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponseBase

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

BODY_BYTES = 9 << 20  # a little more than DATA_UPLOAD_MAX_MEMORY_SIZE, whose answer is nicer
UPLOAD_BYTES = 513 << 20  # a package and the form around it
_UPLOADS = re.compile(
    r"/api/v1/packages|(/api/v1/clusters/[0-9]+/ray)?/api/packages/[^/]+/[^/]+|/t/[^/]+/jobs/new/"
)


class _TooLarge(Exception):
    """More came than this address takes."""


def bounded(app: App) -> App:
    """Answer 413 instead of reading on: Django writes a body to disk before it looks at it."""

    async def bounded_app(scope: Message, receive: Receive, send: Send) -> None:
        most, came, told = _most_bytes(scope), 0, False

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most:
                raise _TooLarge
            return message

        async def telling(message: Message) -> None:
            nonlocal told
            told = True
            await send(message)

        try:
            if _said_bytes(scope) > most:
                raise _TooLarge
            await app(scope, counted, telling)
        except _TooLarge:
            if not told:
                await _refuse(send, most)

    return bounded_app


def sane_address(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Refuse zero bytes in an address: no row has one, and the database takes none."""

    def checked(request: HttpRequest) -> HttpResponseBase:
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            raise SuspiciousOperation("a zero byte in the address")
        return get_response(request)

    return checked


def _most_bytes(scope: Message) -> int:
    return UPLOAD_BYTES if _UPLOADS.fullmatch(scope["path"]) else BODY_BYTES


def _said_bytes(scope: Message) -> int:
    said = dict(scope["headers"]).get(b"content-length", b"")
    return int(said) if said.isdigit() and len(said) < 20 else 0


async def _refuse(send: Send, most: int) -> None:
    said = f"A request to this address has at most {most} bytes."
    about = {"type": "/problems/too_large", "title": "Too large", "code": "too_large"}
    body = json.dumps({**about, "status": 413, "detail": said}).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),  # the rest of the body is not read
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
