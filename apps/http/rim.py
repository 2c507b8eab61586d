"""What is refused before anything is done with it: endless bodies, and bad addresses."""

from __future__ import annotations

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

BODY_BYTES = 9 << 20  # a little more than DATA_UPLOAD_MAX_MEMORY_SIZE, whose answer is nicer
UPLOAD_BYTES = 513 << 20  # a package and the form around it
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

    knows: whether who sends a request is known; an upload beyond what any address takes is read
    of nobody else, and answered 401.
    """

    async def bounded_app(scope: Message, receive: Receive, send: Send) -> None:
        most, came, told = BODY_BYTES, 0, False

        async def admit(length: int) -> None:
            nonlocal most
            if length > most == BODY_BYTES and _UPLOADS.fullmatch(scope["path"]):
                if not await _is_known(scope, knows):
                    raise _Refusal(problems.unauthenticated())
                most = UPLOAD_BYTES
            if length > most:
                said = _("A request to this address has at most %(n)d bytes.") % {"n": most}
                raise _Refusal(problems.problem("too_large", said, status=413))

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            await admit(came)
            return message

        async def telling(message: Message) -> None:
            nonlocal told
            told = True
            await send(message)

        try:
            await admit(_said_bytes(scope))
            await app(scope, counted, telling)
        except _Refusal as refusal:
            if not told:
                await _send_answer(send, refusal.answer)

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


async def _is_known(scope: Message, knows: Callable[[Message], Awaitable[bool]]) -> bool:
    try:
        return await knows(scope)
    except OperationalError as error:
        log.warning("no database: %s", error, extra={"action": "database_away"})
        raise _Refusal(problems.database_away()) from error


def _said_bytes(scope: Message) -> int:
    said = dict(scope["headers"]).get(b"content-length", b"")
    return int(said) if said.isdigit() and len(said) < 20 else 0


async def _send_answer(send: Send, answer: HttpResponse) -> None:
    answer["Content-Length"] = str(len(answer.content))
    answer["Connection"] = "close"  # the rest of the body is not read
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.items()]
    status = answer.status_code
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})
