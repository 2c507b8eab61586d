"""What is refused before anything is done with it: endless bodies, and bad addresses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext as _

from apps.http import problems

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

STRANGER_BYTES = 64 << 10  # a sign-in and any other form for everybody is smaller
BODY_BYTES = 9 << 20  # a little more than DATA_UPLOAD_MAX_MEMORY_SIZE, whose answer is nicer
UPLOAD_BYTES = 513 << 20  # a package and the form around it
LARGE_BYTES = 1 << 20  # up to here a body is read however many are
ALL_BYTES = 8 << 30  # of the bodies of all requests of this process, which lie on its disk
PIECE_S = 20.0  # between two pieces of a body
SLOWEST_BYTES_S = 500.0  # of a body as a whole
LINGER_S = 2.0  # in which the rest of a refused body is thrown away
_UPLOADS = re.compile(
    r"/api/v1/packages|(/api/v1/clusters/[0-9]+/ray)?/api/packages/[^/]+/[^/]+|/t/[^/]+/jobs/new/"
)


class _Refusal(Exception):
    """What is answered instead of reading on."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__()
        self.answer = answer


def bounded(app: App, *, knows: Callable[[Message], Awaitable[bool]]) -> App:
    """Answer 413 instead of reading on: Django writes a body to disk before it looks at it.

    knows: whether who sends a request is known; only a small body is read of anybody else, and
    a larger one answered 401. One that does not come on is answered 408.
    """

    async def bounded_app(scope: Message, receive: Receive, send: Send) -> None:
        body, told = _Body(scope, receive, knows), False

        async def telling(message: Message) -> None:
            nonlocal told
            told = True
            await send(message)

        try:
            await body.admit(_said_bytes(scope))
            await app(scope, body.receive, telling)
        except _Refusal as refusal:
            if not told:
                await _send_answer(send, refusal.answer, meanwhile=body.throw_away)
        finally:
            body.let_go()

    return bounded_app


class _Body:
    """What comes with one request. Raises: _Refusal."""

    _held_bytes = 0  # of all that are being read or answered

    def __init__(
        self, scope: Message, receive: Receive, knows: Callable[[Message], Awaitable[bool]]
    ) -> None:
        self._scope, self._receive, self._knows = scope, receive, knows
        self._most = UPLOAD_BYTES if _UPLOADS.fullmatch(scope["path"]) else BODY_BYTES
        self._clock = asyncio.get_running_loop().time
        self._began_s = self._clock()
        self._came, self._is_all, self._is_known = 0, False, False

    async def admit(self, length: int) -> None:
        """Refuse what is too long for the address, or for who sends it."""
        if length > self._most:
            said = _("A request to this address has at most %(n)d bytes.") % {"n": self._most}
            raise _Refusal(problems.problem("too_large", said, status=413))
        if length > STRANGER_BYTES and not self._is_known:
            if not await _is_known(self._scope, self._knows):
                raise _Refusal(problems.unauthenticated())
            self._is_known = True

    async def receive(self) -> Message:
        """The next piece, counted and timed."""
        if self._is_all:  # what is awaited now is that the client leaves
            return await self._receive()
        from_s = min(self._clock(), self._began_s + self._came / SLOWEST_BYTES_S)
        try:
            async with asyncio.timeout_at(from_s + PIECE_S):
                message = await self._receive()
        except TimeoutError as error:
            said = "The body of the request did not come on."
            raise _Refusal(problems.problem("too_slow", said, status=408)) from error
        piece = len(message.get("body", b""))
        self._came += piece
        _Body._held_bytes += piece
        if self._came > LARGE_BYTES and _Body._held_bytes > ALL_BYTES:
            said = _("Many ask for this at the same moment; try again in a few seconds.")
            after = {"Retry-After": "10"}
            raise _Refusal(problems.problem("busy", said, status=503, headers=after))
        self._is_all = not message.get("more_body", False)
        await self.admit(self._came)
        return message

    async def throw_away(self) -> None:
        """Read on for a while: who sends all before it reads would find its connection reset."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._is_all:
                    self._is_all = not (await self._receive()).get("more_body", False)

    def let_go(self) -> None:
        """Once it is answered."""
        _Body._held_bytes -= self._came
        self._came = 0


def sane_address(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Refuse zero bytes in an address: no row has one, and the database takes none."""

    def checked(request: HttpRequest) -> HttpResponseBase:
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            raise SuspiciousOperation("a zero byte in the address")
        return get_response(request)

    return checked


async def _is_known(scope: Message, knows: Callable[[Message], Awaitable[bool]]) -> bool:
    try:
        return await knows(scope)
    except OperationalError as error:
        log.warning("no database: %s", error, extra={"action": "database_away"})
        raise _Refusal(problems.database_away()) from error


def _said_bytes(scope: Message) -> int:
    said = dict(scope["headers"]).get(b"content-length", b"")
    return int(said) if said.isdigit() and len(said) < 20 else 0


async def _send_answer(
    send: Send, answer: HttpResponse, *, meanwhile: Callable[[], Awaitable[None]]
) -> None:
    """meanwhile: after all of the answer, and before the connection ends with it."""
    answer["Content-Length"] = str(len(answer.content))
    answer["Connection"] = "close"
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.items()]
    status = answer.status_code
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content, "more_body": True})
    await meanwhile()
    await send({"type": "http.response.body", "body": b""})
