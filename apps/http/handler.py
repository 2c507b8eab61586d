"""Django under ASGI with each request in one thread, from its first middleware to its last."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import IO, Any, TypeVar, cast

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.db import close_old_connections
from django.http import HttpResponseBase, StreamingHttpResponse
from django.urls import set_script_prefix

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
T = TypeVar("T")

# Fewer than the database's connections (`REGATTA_DB_POOL`), so that a burst waits in this line,
# which nobody is refused from, and leaves some to the live streams.
REQUESTS_AT_ONCE = 16
_PIECES_AT_ONCE = 64  # of a file, 4 KiB each


class Handler(ASGIHandler):
    """Views and middleware are synchronous here; only what a stream goes on to send is not.

    Django's own handler walks an asynchronous chain for them and changes threads at every link,
    some twenty times a request: more than half of what a small answer costs.
    """

    def __init__(self) -> None:
        BaseHandler.__init__(self)  # the parent's would load the chain as an asynchronous one
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="request")

    async def handle(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request; what is still to be sent when the client leaves is dropped."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            response = await self._in_thread(lambda: self._answer(scope, body))
            if not isinstance(response, StreamingHttpResponse):
                await self.send_response(response, send)
                return
            try:
                await self._stream(response, receive, send)
            finally:
                await self._in_thread(response.close)

    def _answer(self, scope: dict[str, Any], body: IO[bytes]) -> HttpResponseBase:
        """The response, its database connection given back: a stream may last for hours."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        request, refused = self.create_request(scope, body)
        response = refused if request is None else self.get_response(request)
        assert response is not None
        if response.streaming:
            close_old_connections()
        else:
            response.close()
        return response

    async def _stream(self, response: StreamingHttpResponse, receive: Receive, send: Send) -> None:
        if not response.is_async:
            content = cast("Iterator[bytes]", response.streaming_content)
            response.streaming_content = self._pieces(content)
        sending = asyncio.create_task(self.send_response(response, send))
        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            ended = await asyncio.gather(sending, leaving, return_exceptions=True)
        for trouble in ended:
            if isinstance(trouble, Exception) and not isinstance(trouble, RequestAborted):
                raise trouble

    async def _pieces(self, content: Iterator[bytes]) -> AsyncIterator[bytes]:
        """A file's pieces, read in a thread many at a time: a change of threads costs more."""
        while piece := await self._in_thread(lambda: b"".join(islice(content, _PIECES_AT_ONCE))):
            yield piece

    async def _in_thread(self, work: Callable[[], T]) -> T:
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        return await loop.run_in_executor(self._threads, context.run, work)
