"""A body longer than its address takes is refused before it is written anywhere."""

from __future__ import annotations

import asyncio

import pytest

from apps.http import rim
from apps.http.rim import BODY_BYTES, STRANGER_BYTES, UPLOAD_BYTES, bounded


def answer_to(path, pieces, *, length=None, known=True, every_s=0.0):
    """The status of the answer, and how many pieces were taken before it."""
    sent, taken, before = [], [], []
    waiting = list(pieces)

    async def receive():
        taken.append(1)
        await asyncio.sleep(every_s)
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)
        before.append(len(taken))

    async def app(scope, receive, send):
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})

    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    scope = {"type": "http", "path": path, "headers": headers}

    async def knows(scope):
        return known

    asyncio.run(bounded(app, knows=knows)(scope, receive, send))
    assert len(sent) == 1 or not sent[-1].get("more_body", False)
    return sent[0]["status"], before[0]


MIB = b"\0" * (1 << 20)


@pytest.mark.parametrize("path", ["/healthz", "/t/a/jobs/new", "/api/v1/packages/x", "/link/a/"])
def test_a_long_body_is_refused_by_what_it_says_and_by_what_it_is(path):
    assert answer_to(path, [b"x"], length=BODY_BYTES + 1) == (413, 0)
    assert answer_to(path, [MIB] * 100) == (413, 10)
    assert answer_to(path, [MIB] * 9, length=BODY_BYTES) == (200, 9)


@pytest.mark.parametrize(("every_s", "least", "most"), [(0.0, 50, 50), (0.02, 1, 49)])
def test_the_rest_of_a_refused_body_is_thrown_away_for_a_while(monkeypatch, every_s, least, most):
    monkeypatch.setattr(rim, "LINGER_S", 0.1)
    waiting = [MIB] * 50

    async def receive():
        await asyncio.sleep(every_s)
        return {"type": "http.request", "body": waiting.pop(), "more_body": bool(waiting)}

    sent = []

    async def send(message):
        sent.append((message, len(waiting)))

    async def app(scope, receive, send):
        raise AssertionError("it was refused before")

    scope = {
        "type": "http",
        "path": "/healthz",
        "headers": [(b"content-length", b"%d" % (50 << 20))],
    }
    asyncio.run(bounded(app, knows=None)(scope, receive, send))
    (start, left), (body, left_then), (end, left_last) = sent
    assert (start["status"], left, left_then) == (413, 50, 50)
    assert body["more_body"]
    assert not end.get("more_body", False)
    assert least <= 50 - left_last <= most


uploads = pytest.mark.parametrize(
    "path",
    [
        "/api/v1/packages",
        "/api/packages/gcs/a.zip",
        "/api/v1/clusters/3/ray/api/packages/gcs/a.zip",
        "/t/demo/jobs/new/",
    ],
)


@uploads
def test_a_package_may_be_longer_yet_not_without_end(path):
    assert answer_to(path, [MIB] * 20, length=UPLOAD_BYTES) == (200, 20)
    assert answer_to(path, [MIB], length=UPLOAD_BYTES + 1) == (413, 0)


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/telemetry", "/sign-in/"])
def test_of_a_stranger_only_a_small_body_is_read(path):
    small = b"\0" * STRANGER_BYTES
    assert answer_to(path, [small], length=STRANGER_BYTES, known=False) == (200, 1)
    assert answer_to(path, [small], length=STRANGER_BYTES + 1, known=False) == (401, 0)
    assert answer_to(path, [small, b"x", MIB], known=False) == (401, 2)


@uploads
def test_nor_is_a_package_of_a_stranger_read(path):
    assert answer_to(path, [MIB], length=UPLOAD_BYTES, known=False) == (401, 0)


def test_a_body_that_stops_or_trickles_is_given_up(monkeypatch):
    monkeypatch.setattr(rim, "PIECE_S", 0.05)
    assert answer_to("/sign-in/", [b"x", b"x"], every_s=0.2) == (408, 1)
    assert answer_to("/sign-in/", [b"x"] * 50, every_s=0.02)[0] == 408
    assert answer_to("/api/v1/jobs", [MIB] * 5, every_s=0.02) == (200, 5)


def test_what_comes_after_a_body_may_take_its_time(monkeypatch):
    """A stream waits for its client to leave: hours, and no bound holds."""
    monkeypatch.setattr(rim, "PIECE_S", 0.02)
    sent, coming = [], [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive():
        await asyncio.sleep(0 if len(coming) == 2 else 0.1)
        return coming.pop(0)

    async def send(message):
        sent.append(message["status"])

    async def app(scope, receive, send):
        await receive()
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def knows(scope):
        return False

    scope = {"type": "http", "path": "/", "headers": []}
    asyncio.run(bounded(app, knows=knows)(scope, receive, send))
    assert sent == [200]


def test_all_large_bodies_together_have_an_end_and_small_ones_pass(monkeypatch):
    monkeypatch.setattr(rim, "ALL_BYTES", 4 << 20)
    monkeypatch.setattr(rim._Body, "_held_bytes", 3 << 20)
    assert answer_to("/api/v1/packages", [MIB] * 3) == (503, 2)
    assert answer_to("/api/v1/jobs", [MIB]) == (200, 1)
    assert rim._Body._held_bytes == 3 << 20, "what was answered is let go"
    monkeypatch.setattr(rim._Body, "_held_bytes", 0)
    assert answer_to("/api/v1/packages", [MIB] * 4) == (200, 4)
