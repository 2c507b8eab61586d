"""A body longer than its address takes is refused before it is written anywhere."""

from __future__ import annotations

import asyncio

import pytest

from apps.http.rim import BODY_BYTES, UPLOAD_BYTES, bounded


def answer_to(path, pieces, *, length=None, known=True):
    """The status of the answer, and how many pieces were taken."""
    sent, taken = [], []
    waiting = list(pieces)

    async def receive():
        taken.append(1)
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    async def app(scope, receive, send):
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})

    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    scope = {"type": "http", "path": path, "headers": headers}

    async def knows(scope):
        return known

    asyncio.run(bounded(app, knows=knows)(scope, receive, send))
    return sent[0]["status"], len(taken)


MIB = b"\0" * (1 << 20)


@pytest.mark.parametrize("path", ["/healthz", "/t/a/jobs/new", "/api/v1/packages/x", "/link/a/"])
def test_a_long_body_is_refused_by_what_it_says_and_by_what_it_is(path):
    assert answer_to(path, [b"x"], length=BODY_BYTES + 1) == (413, 0)
    assert answer_to(path, [MIB] * 100) == (413, 10)
    assert answer_to(path, [MIB] * 9, length=BODY_BYTES) == (200, 9)


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


@uploads
def test_of_a_stranger_no_more_is_read_than_any_address_takes(path):
    assert answer_to(path, [MIB], length=BODY_BYTES + 1, known=False) == (401, 0)
    assert answer_to(path, [MIB] * 20, known=False) == (401, 10)
    assert answer_to(path, [MIB] * 9, known=False) == (200, 9), "Django answers what is small"
