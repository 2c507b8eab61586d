"""Open pages see each byte once and in order, from wherever they were, until all is told."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import aclosing

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.db import connections, transaction
from django.test import AsyncClient
from jobs import World, a_cluster_of, a_job, the_attempt
from people import a_team, a_token, bearer, owner_of

from apps.accounts import services as people
from apps.accounts.models import ApiToken
from apps.http.handler import Handler
from apps.jobs import live, log_views, logs
from apps.jobs.live import Moved, Over, Quiet, Text
from apps.jobs.log_models import Log
from apps.jobs.logs import Addition
from apps.jobs.models import Attempt, Job

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = uuid.uuid4()


def in_db(work):
    """For a test's own reads and writes, from a coroutine."""
    return sync_to_async(work)


@pytest.fixture(autouse=True)
async def nothing_left_open():
    yield
    await sync_to_async(connections.close_all)()


@in_db
def a_watched_attempt(text=b""):
    attempt = start(a_job(a_cluster_of()))
    if text:
        add(attempt, text)
    return attempt


def start(job):
    World().sweep()
    attempt = the_attempt(job)
    logs.take_over(TOKEN)
    return attempt


def add(attempt, text, *, ending=""):
    at = Log.objects.get(pk=attempt.pk).stored_bytes
    one = Addition(attempt_id=attempt.pk, byte_from=at, data=text, ending=ending)
    assert logs.add(TOKEN, [one]) == set()


def end(attempt, *, to="succeeded", log_ending="complete"):
    attempt.refresh_from_db()
    if attempt.state == "starting":
        attempt.advance("running", reason="seen_running")
    attempt.advance(to, reason=to)
    add(attempt, b"", ending=log_ending)


async def texts(job_id, *, enough, **place):
    """The first `enough` bytes that a stream tells, with the place of each piece."""
    told, size = [], 0
    async with aclosing(live.follow(job_id, **place)) as news:
        async for one in news:
            if isinstance(one, Text):
                told.append((one.number, one.piece.byte_from, one.piece.data))
                size += len(one.piece.data)
            if size >= enough:
                return told
    return told


def joined(told):
    return b"".join(data for _number, _start, data in told)


async def test_what_is_added_reaches_an_open_stream_in_order():
    attempt = await a_watched_attempt(b"zero\n")
    reading = asyncio.create_task(texts(attempt.job_id, enough=5 + 50 * 9))
    for number in range(50):
        await in_db(add)(attempt, b"line %03d\n" % number)
    told = await reading
    assert joined(told) == b"zero\n" + b"".join(b"line %03d\n" % n for n in range(50))
    starts = [start for _number, start, _data in told]
    assert starts == sorted(set(starts))


async def test_a_stream_resumes_at_any_byte():
    attempt = await a_watched_attempt(b"0123456789" * 60_000)
    told = await texts(attempt.job_id, enough=300_000, number=1, byte=299_997)
    assert (told[0][1], joined(told)[:6]) == (299_997, b"789012")
    assert len(joined(told)) >= 300_000


async def test_many_streams_of_one_job_are_told_the_same_by_one_reader(monkeypatch):
    attempt = await a_watched_attempt(b"begin\n")
    reads = []
    look = live._look

    def counted(job_ids, ends):
        reads.append(job_ids)
        return look(job_ids, ends)

    monkeypatch.setattr(live, "_look", counted)
    reading = [asyncio.create_task(texts(attempt.job_id, enough=16)) for _ in range(40)]
    while len(reads) < 1:
        await asyncio.sleep(0.01)
    await in_db(add)(attempt, b"more more\n")
    told = await asyncio.gather(*reading)
    assert {joined(one) for one in told} == {b"begin\nmore more\n"}
    assert len(reads) < 10


async def test_a_slow_client_catches_up_from_the_database(monkeypatch):
    monkeypatch.setattr(live, "_RING_BYTES", 1000)
    attempt = await a_watched_attempt(b"first\n")
    told = b""
    async with aclosing(live.follow(attempt.job_id)) as news:
        async for one in news:
            if isinstance(one, Text):
                told += one.piece.data
                if told == b"first\n":  # it takes nothing while much is written
                    for _ in range(20):
                        await in_db(add)(attempt, b"x" * 500)
                    await asyncio.sleep(0.3)
            if len(told) == 10_006:
                break
    assert told == b"first\n" + b"x" * 10_000


async def test_a_stream_is_over_when_the_attempt_has_ended_and_all_is_told():
    attempt = await a_watched_attempt(b"all\n")
    await in_db(end)(attempt)
    told = [one async for one in live.follow(attempt.job_id)]
    assert [type(one) for one in told] == [Moved, Text, Over]


async def test_a_stream_goes_on_with_the_next_attempt():
    attempt = await a_watched_attempt(b"one\n")

    @transaction.atomic
    def try_again():
        attempt.advance("running", reason="seen_running")
        attempt.advance("failed", reason="entrypoint_failed")
        second = Attempt.objects.create(job=attempt.job, number=2)
        second.advance("starting", reason="placed")
        Job.objects.update(attempt_number=2)
        return second

    def write(second):
        add(attempt, b"late\n", ending="complete")
        logs.take_over(TOKEN)
        add(second, b"two\n")

    reading = asyncio.create_task(texts(attempt.job_id, enough=13))
    await in_db(write)(await in_db(try_again)())
    assert await reading == [(1, 0, b"one\n"), (1, 4, b"late\n"), (2, 0, b"two\n")]


async def test_what_an_earlier_attempt_writes_while_it_is_read_is_not_passed_over(monkeypatch):
    attempt = await a_watched_attempt(b"one\n")
    pieces, late = live._pieces, []

    def followed_by_the_last_bytes(job_id, number, after, until):
        found = pieces(job_id, number, after, until)
        if number == 1 and not found and not late:
            late.append(add(attempt, b"late\n", ending="complete"))
        return found

    @transaction.atomic
    def try_again():
        attempt.advance("failed", reason="entrypoint_failed")
        second = Attempt.objects.create(job=attempt.job, number=2)
        second.advance("starting", reason="placed")
        Job.objects.update(attempt_number=2)
        return second

    second = await in_db(try_again)()
    await in_db(logs.take_over)(TOKEN)
    await in_db(add)(second, b"two\n")
    monkeypatch.setattr(live, "_pieces", followed_by_the_last_bytes)
    told = await texts(attempt.job_id, enough=13, number=1)
    assert joined(told) == b"one\nlate\ntwo\n"


async def test_a_quiet_stream_shows_that_it_lives(monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    attempt = await a_watched_attempt()
    async with aclosing(live.follow(attempt.job_id)) as news:
        assert [type(await anext(news)) for _ in range(2)] in ([Moved, Quiet], [Quiet, Moved])


# Over HTTP.


async def events(response, *, enough):
    """The events of a response until one named `enough`, as (name, id, data)."""
    seen, rest = [], ""
    async for chunk in response.streaming_content:
        rest += chunk.decode()
        *whole, rest = rest.split("\n\n")
        for block in whole:
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
            if fields:
                seen.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
        if any(name == enough for name, _id, _data in seen):
            break
    response.close()
    return seen


@in_db
def signed_in(client, team):
    client.force_login(owner_of(team))


@in_db
def team_of(attempt):
    return attempt.job.team


async def a_reader(attempt):
    client, team = AsyncClient(), await team_of(attempt)
    await signed_in(client, team)
    return client, f"/t/{team.slug}/jobs/{attempt.job_id}"


async def test_the_page_streams_state_log_and_end():
    attempt = await a_watched_attempt(b"a\x00\xff<b>\n")
    await in_db(end)(attempt)
    client, page = await a_reader(attempt)
    response = await client.get(f"{page}/stream")
    assert response["Content-Type"] == "text/event-stream"
    (state, _id, block), log, last = await events(response, enough="end")
    assert (state, block["state"], block["attempt"]) == ("state", "succeeded", 1)
    assert log == ("log", "1:7", {"attempt": 1, "from": 0, "to": 7, "text": "a\x00\ufffd<b>\n"})
    assert last == ("end", None, {"log_ending": "complete", "message": "complete"})


async def test_a_stream_speaks_the_language_of_its_request():
    attempt = await a_watched_attempt()
    await in_db(end)(attempt)
    secret = await in_db(a_token)(await team_of(attempt))
    asked = {
        "Host": "127.0.0.1",
        "Authorization": f"Bearer {secret}",
        "Accept-Language": "zh-hans",
    }
    headers = [(name.lower().encode(), value.encode()) for name, value in asked.items()]
    path = f"/api/v1/jobs/{attempt.job_id}/logs/stream"
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    asking = ApplicationCommunicator(Handler(), scope | {"query_string": b""})
    await asking.send_input({"type": "http.request"})
    told = b""
    while b"event: end" not in told:
        told += (await asking.receive_output(timeout=10)).get("body", b"")
    assert json.loads(told.rpartition(b"data: ")[2])["message"] == "完整"
    await asking.wait(timeout=10)


async def test_the_end_of_a_stream_says_that_its_log_is_cut():
    attempt = await a_watched_attempt(b"one\n")
    await in_db(end)(attempt, log_ending="too_long")
    client, page = await a_reader(attempt)
    seen = await events(await client.get(f"{page}/stream"), enough="end")
    cut = {"log_ending": "too_long", "message": "cut: longer than the portal keeps"}
    assert seen[-1] == ("end", None, cut)


async def test_the_place_of_the_last_event_is_where_it_goes_on():
    attempt = await a_watched_attempt(b"one\ntwo\n")
    await in_db(end)(attempt)
    client, page = await a_reader(attempt)
    for asked in ({"headers": {"Last-Event-ID": "1:4"}}, {"query_params": {"after": "1:4"}}):
        seen = await events(await client.get(f"{page}/stream", **asked), enough="end")
        assert [data["text"] for name, _id, data in seen if name == "log"] == ["two\n"]


@pytest.mark.parametrize("place", ["x", "1", "1:-2", "1:" + "9" * 40])
async def test_a_place_that_is_none_is_refused(place):
    attempt = await a_watched_attempt()
    client, page = await a_reader(attempt)
    response = await client.get(f"{page}/stream", {"after": place})
    assert (response.status_code, response.json()["code"]) == (422, "bad_place")


async def test_a_stranger_finds_no_stream_and_no_file():
    attempt = await a_watched_attempt(b"secret\n")
    client = AsyncClient()
    stranger = await in_db(lambda: owner_of(a_team()))()
    await in_db(client.force_login)(stranger)
    team = await team_of(attempt)
    for address in ("stream", "log.txt"):
        page = f"/t/{team.slug}/jobs/{attempt.job_id}/{address}"
        assert (await client.get(page)).status_code == 404


async def test_the_download_is_the_log_byte_for_byte_and_never_rendered():
    attempt = await a_watched_attempt(b"<script>\x00\xff" * 40_000)
    client, page = await a_reader(attempt)
    response = await client.get(f"{page}/log.txt")
    body = b"".join([chunk async for chunk in response.streaming_content])
    assert body == b"<script>\x00\xff" * 40_000
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Content-Disposition"] == (
        f'attachment; filename="job-{attempt.job_id}-a1.log"'
    )
    assert response["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("written", [b"", '"\\<\x00\n😀é'.encode() * 200_000 + b"\xff\n"])
async def test_rays_clients_are_told_the_whole_log_in_bounded_pieces(written):
    attempt = await a_watched_attempt(written)
    token = await in_db(lambda: a_token(attempt.job.team))()
    address = f"/api/jobs/job-{attempt.job_id}/logs"
    response = await AsyncClient().get(address, **bearer(token))
    assert response["Content-Type"] == "application/json"
    told = [piece async for piece in response.streaming_content]
    assert json.loads(b"".join(told)) == {"logs": written.decode(errors="replace")}
    assert max(map(len, told)) <= 6 * (logs.PIECE_BYTES + logs.CHUNK_BYTES)


@pytest.mark.parametrize("number", ["2", "x", "9" * 5000])
async def test_an_attempt_that_is_none_has_no_file(number):
    attempt = await a_watched_attempt(b"one\n")
    client, page = await a_reader(attempt)
    assert (await client.get(f"{page}/log.txt", {"attempt": number})).status_code == 404


async def test_a_stream_closes_when_its_token_is_revoked(monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(log_views, "_RECHECK_S", 0.0)
    attempt = await a_watched_attempt(b"one\n")
    team = await team_of(attempt)
    secret = await in_db(a_token)(team)
    stream = f"/api/v1/jobs/{attempt.job_id}/logs/stream"
    response = await AsyncClient().get(stream, **bearer(secret))
    reading = asyncio.create_task(events(response, enough="end"))
    await asyncio.sleep(0.2)
    assert not reading.done()
    await in_db(lambda: people.revoke_token(ApiToken.objects.get(), actor="test"))()
    assert "end" not in [name for name, _id, _data in await reading]


async def test_a_stream_closes_when_its_session_has_ended(monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(log_views, "_RECHECK_S", 0.0)
    attempt = await a_watched_attempt(b"one\n")
    client, page = await a_reader(attempt)
    reading = asyncio.create_task(events(await client.get(f"{page}/stream"), enough="end"))
    await asyncio.sleep(0.2)
    assert not reading.done()
    await in_db(client.logout)()
    assert "end" not in [name for name, _id, _data in await reading]
