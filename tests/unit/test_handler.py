"""Requests through Django's chain in threads: answered whole, in a line, and apart."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.utils import translation

from apps.http.handler import REQUESTS_AT_ONCE, Handler

GET = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}


def handler(answer):
    """The handler, with `answer` in the place of all middleware and views."""
    built = Handler()
    built._middleware_chain = answer
    return built


async def body_of(app):
    asking = ApplicationCommunicator(app, dict(GET))
    await asking.send_input({"type": "http.request"})
    assert (await asking.receive_output())["status"] == 200
    body, more = b"", True
    while more:
        message = await asking.receive_output(timeout=10)
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await asking.wait()
    return body


async def test_more_requests_than_threads_wait_their_turn_and_are_all_answered():
    at_once, most, lock = 0, 0, threading.Lock()

    def slow(request):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return HttpResponse(b"done")

    app = handler(slow)
    bodies = await asyncio.gather(*(body_of(app) for _ in range(4 * REQUESTS_AT_ONCE)))
    assert bodies == [b"done"] * 4 * REQUESTS_AT_ONCE
    assert most <= REQUESTS_AT_ONCE


async def test_what_a_request_sets_for_itself_is_gone_in_the_next_of_its_thread():
    seen = []

    def chinese_first(request):
        seen.append(translation.get_language())
        translation.activate("zh-hans")
        return HttpResponse(b"ok")

    app = handler(chinese_first)
    for _ in range(3 * REQUESTS_AT_ONCE):
        await body_of(app)
    assert set(seen) == {"en"}


async def test_a_file_arrives_whole(tmp_path):
    content = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(content)
    app = handler(lambda request: FileResponse((tmp_path / "file").open("rb")))
    assert await body_of(app) == content


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_stream_is_closed_when_it_ends_and_when_its_client_leaves(leaves):
    closed = asyncio.Event()

    async def events():
        try:
            yield b"first"
            if leaves:
                await asyncio.sleep(3600)
        finally:
            closed.set()

    app = handler(lambda request: StreamingHttpResponse(events()))
    asking = ApplicationCommunicator(app, dict(GET))
    await asking.send_input({"type": "http.request"})
    assert (await asking.receive_output())["type"] == "http.response.start"
    assert (await asking.receive_output())["body"] == b"first"
    if leaves:
        await asking.send_input({"type": "http.disconnect"})
    await asking.wait(timeout=10)
    assert closed.is_set()


async def test_the_trouble_of_a_stream_is_not_swallowed():
    async def events():
        yield b"first"
        raise RuntimeError("the disk is gone")

    asking = ApplicationCommunicator(handler(lambda request: StreamingHttpResponse(events())), GET)
    await asking.send_input({"type": "http.request"})
    with pytest.raises(RuntimeError, match="the disk is gone"):
        await asking.wait(timeout=10)
