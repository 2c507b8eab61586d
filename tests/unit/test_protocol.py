"""A head has an end, in bytes and in seconds; what is in order passes as ever."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest
import uvicorn

from apps.http import protocol
from apps.http.protocol import HEAD_BYTES, Protocol

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
UPGRADE += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
LARGE_BYTES = 32 << 20  # more than the system takes from a sender that nobody reads
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def application(scope, receive, send):
    """Answers a body's length; `/slow` takes its time."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(0.5)
        await send({"type": "websocket.close"})
        return
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    said = b"a" * LARGE_BYTES if scope["path"] == "/large" else b"%d bytes" % length
    await send({"type": "http.response.body", "body": said})


class Watched(Protocol):
    """Notes what it holds in memory at most."""

    ahead = held_bytes = 0

    def data_received(self, data):
        super().data_received(data)
        Watched.ahead = max(Watched.ahead, len(self.pipeline))
        Watched.held_bytes = max(Watched.held_bytes, len(self.flow.held))


def answers_to(*pieces, every_s=0.0, until=b"never", spoken=Protocol, rests_s=0.0):
    """What comes back for these pieces, up to `until` or the end; the seconds that it took.

    rests_s: for how long nothing of it is taken first.
    """

    async def ask():
        config = uvicorn.Config(application, http=spoken, lifespan="off", log_config=None)
        config.load()
        server = uvicorn.Server(config)
        ours = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve(sockets=[ours]))
        reader, writer = await asyncio.open_connection(*ours.getsockname())
        began_s, got = time.monotonic(), b""

        async def write():
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(every_s)

        writing = asyncio.create_task(write())
        reader._transport.pause_reading()
        await asyncio.sleep(rests_s)
        reader._transport.resume_reading()
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(30):
                while until not in got and (piece := await reader.read(1 << 16)):
                    got += piece
        took_s = time.monotonic() - began_s
        writing.cancel()
        writer.close()
        server.should_exit = server.force_exit = True
        await serving
        return got, took_s

    return asyncio.run(ask())


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)


def a_head(length):
    return GET + b"X: " + b"a" * (length - len(GET) - 7) + b"\r\n\r\n"


def test_a_head_of_the_most_bytes_is_read_and_one_more_refused():
    assert answers_to(a_head(HEAD_BYTES - 1), until=b"bytes")[0].startswith(b"HTTP/1.1 200")
    assert answers_to(a_head(HEAD_BYTES + 1))[0].startswith(b"HTTP/1.1 431 ")


def test_it_may_be_one_long_address_or_what_trails_a_body():
    long = b"a" * HEAD_BYTES
    assert answers_to(b"GET /" + long)[0].startswith(b"HTTP/1.1 431 ")
    got, took_s = answers_to(CHUNKED + b"1\r\na\r\n0\r\nX: ", long, long, every_s=0.05)
    assert (got, took_s < 10) == (b"", True), "closed without an answer"


def test_a_long_body_is_no_head():
    body = b"a" * (1 << 20)
    said = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert b"1048576 bytes" in answers_to(said + body, until=b" bytes")[0]
    pieces = b"".join(b"400\r\n%s\r\n" % body[:1024] for _ in range(1024))
    assert b"1048576 bytes" in answers_to(CHUNKED, pieces, b"0\r\n\r\n", until=b" bytes")[0]


def test_requests_that_come_together_are_answered_in_turn(hurried):
    got, _ = answers_to((GET + b"\r\n") * 5000)
    assert got.count(b"HTTP/1.1 200") == 5000


def test_requests_are_taken_in_no_faster_than_they_are_answered():
    slow, many = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", (GET + b"\r\n") * 4000
    got, _ = answers_to(slow, many, spoken=Watched)
    assert got.count(b"HTTP/1.1 200") == 4001
    assert Watched.ahead < 200
    assert 0 < Watched.held_bytes <= 1 << 20


@pytest.mark.parametrize("rest", [b"\r\n", b"Connection: close\r\n\r\n"])
def test_an_answer_that_nobody_takes_is_given_up(monkeypatch, rest):
    monkeypatch.setattr(protocol, "UNTAKEN_S", 0.2)
    asked = GET.replace(b" / ", b" /large ") + rest
    got, took_s = answers_to(asked, rests_s=1.0)
    assert len(got) < LARGE_BYTES
    assert took_s < 10


def test_one_that_is_taken_slowly_is_not(monkeypatch):
    monkeypatch.setattr(protocol, "UNTAKEN_S", 1.0)
    got, _ = answers_to(GET.replace(b" / ", b" /large ") + b"\r\n", rests_s=0.2)
    assert len(got) > LARGE_BYTES


@pytest.mark.parametrize("before", [b"", GET + b"\r\n"])
def test_a_head_that_does_not_end_is_given_up(hurried, before):
    got, took_s = answers_to(before + GET, *[b"X: a\r\n"] * 10, every_s=0.05)
    assert got.split(b"HTTP/1.1 ")[-1].startswith(b"408 Request Timeout\r\n")
    assert took_s < 10


def test_nor_do_empty_lines_keep_a_connection(hurried):
    got, took_s = answers_to(GET + b"\r\n", *[b"\r\n"] * 10, every_s=0.05)
    assert got.split(b"HTTP/1.1 ")[-1].startswith(b"408 Request Timeout\r\n")
    assert took_s < 10


def test_a_connection_on_which_nothing_is_asked_is_closed_without_a_word(hurried):
    got, took_s = answers_to()
    assert (got, 0.1 < took_s < 10) == (b"", True)


def test_half_a_head_does_not_end_the_answer_before_it(hurried):
    got, _ = answers_to(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
    assert b"0 bytes" in got
    assert b"408" in got.split(b"0 bytes")[1]


def test_an_answer_and_a_websocket_may_take_longer_than_a_head(hurried):
    got, _ = answers_to(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"0 bytes" in got
    got, took_s = answers_to(GET + UPGRADE + b"\r\n")
    assert got.startswith(b"HTTP/1.1 101")
    assert took_s > 0.4


@pytest.mark.parametrize("body", [b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_websocket_that_brings_a_body_is_refused_at_once(body):
    got, took_s = answers_to(GET + UPGRADE + body + b"\r\n")
    assert got.startswith(b"HTTP/1.1 400")
    assert took_s < 10
