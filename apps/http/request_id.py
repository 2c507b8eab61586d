"""Gives each request an id, which errors and log lines repeat."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

current: ContextVar[str] = ContextVar("request_id", default="-")
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")


@sync_and_async_middleware
def request_id(
    get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Take the client's `X-Request-Id` if it is sane, else make one; answer with it."""

    async def with_id_async(request: HttpRequest) -> HttpResponseBase:
        with _named(request) as name:
            response: HttpResponseBase = await get_response(request)  # type: ignore[misc]
        response["X-Request-Id"] = name
        return response

    def with_id(request: HttpRequest) -> HttpResponseBase:
        with _named(request) as name:
            response = get_response(request)
        assert isinstance(response, HttpResponseBase)
        response["X-Request-Id"] = name
        return response

    return with_id_async if iscoroutinefunction(get_response) else with_id


@contextmanager
def _named(request: HttpRequest) -> Iterator[str]:
    given = request.headers.get("X-Request-Id", "")
    name = given if _SANE.fullmatch(given) else uuid.uuid4().hex[:16]
    before = current.set(name)
    try:
        yield name
    finally:
        current.reset(before)
