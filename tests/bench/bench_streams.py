"""500 live-log streams on one portal process, opened at once: does each get all, and how late.

The lines are written into the tables as the follower writes them, by this process; the streams are
real HTTP connections, read by this process too, so the lag includes what that costs it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import psutil
from measure import at, enter, tell
from portals import RunningPortal, a_portal

STREAMS, JOBS, LINES, EVERY_S = 500, 50, 40, 0.5


def main() -> None:
    with a_portal(REGATTA_WEB_PROCESSES="1") as portal:
        enter(portal.at.home)
        web = psutil.Process(portal.pid("web"))
        attempts = running_attempts(portal)
        before = web.memory_info().rss
        lags, got = asyncio.run(measure(portal, attempts))
        grown = web.memory_info().rss - before
    whole = sum(count == LINES for count in got.values())
    more: dict[str, Any] = {"streams": STREAMS, "jobs": JOBS, "lines": LINES}
    tell("streams_that_got_every_line", whole, "streams", limit=STREAMS, **more)
    sent = STREAMS * LINES
    tell("stream_events_delivered", len(lags), "events", limit=sent, lines_per_s=LINES / EVERY_S)
    p50 = round(1000 * statistics.median(lags))
    tell("stream_lag_p99", 1000 * at(0.99, lags), "ms", limit=2000, p50_ms=p50)
    tell("stream_memory", grown / STREAMS / 1024, "KiB/stream", web_mib=round(grown / 2**20))


def running_attempts(portal: RunningPortal) -> list[tuple[int, int]]:
    """Jobs that run as far as the tables know, their logs held by this process: (job, attempt)."""
    from django.utils import timezone  # noqa: PLC0415  (needs the settings)

    from apps.accounts.selectors import caller_of_token  # noqa: PLC0415
    from apps.clusters.models import Cluster  # noqa: PLC0415
    from apps.jobs.models import Attempt, Job, Log  # noqa: PLC0415

    caller = caller_of_token(portal.token)
    assert caller is not None
    cluster = Cluster.objects.create(
        team=caller.team, name="asleep", state="stopped", desired="stopped", created_by="bench"
    )
    made = []
    for number in range(JOBS):
        job = Job.objects.create(
            team=caller.team,
            cluster=cluster,
            name=f"streamed {number}",
            entrypoint="true",
            state="running",
            attempt_number=1,
        )
        attempt = Attempt.objects.create(
            job=job, number=1, state="running", session="1", next_look_at=None
        )
        held = timezone.now() + timedelta(hours=1)
        Log.objects.create(attempt=attempt, lease_token=TOKEN, lease_until=held)
        made.append((job.pk, attempt.pk))
    return made


TOKEN = uuid.uuid4()


async def measure(
    portal: RunningPortal, attempts: list[tuple[int, int]]
) -> tuple[list[float], Counter[int]]:
    lags: list[float] = []
    got: Counter[int] = Counter()
    opened = asyncio.Semaphore(0)
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {portal.token}"}
    async with httpx.AsyncClient(
        base_url=portal.at.url, headers=headers, timeout=60.0, limits=limits, trust_env=False
    ) as http:
        reading: list[asyncio.Task[None]] = []
        for number in range(STREAMS):
            job_id, _attempt = attempts[number % JOBS]
            reading.append(asyncio.create_task(read(http, job_id, number, opened, lags, got)))
        for number in range(STREAMS):
            await still_opening(opened, reading, number)
        await asyncio.to_thread(write, [attempt for _job, attempt in attempts])
        async with asyncio.timeout(60):
            await asyncio.gather(*reading)
    return lags, got


async def still_opening(
    opened: asyncio.Semaphore, reading: list[asyncio.Task[None]], number: int
) -> None:
    """Wait for one more stream; says how many there were when none comes."""
    try:
        await asyncio.wait_for(opened.acquire(), 60)
    except TimeoutError:
        failed = [task.exception() for task in reading if task.done()]
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        raise SystemExit(f"{number} of {STREAMS} streams opened; failed: {failed[:3]}") from None


async def read(
    http: httpx.AsyncClient,
    job_id: int,
    number: int,
    opened: asyncio.Semaphore,
    lags: list[float],
    got: Counter[int],
) -> None:
    async with http.stream("GET", f"/api/v1/jobs/{job_id}/logs/stream") as answer:
        assert answer.status_code == httpx.codes.OK, (await answer.aread())[:200]
        async for line in answer.aiter_lines():
            if line == "event: state":
                opened.release()  # it is told of the job: whatever is written now must come
            if not line.startswith('data: {"attempt"') or '"text"' not in line:
                continue
            now_s = time.time()
            for said in json.loads(line.removeprefix("data: "))["text"].split():
                lags.append(now_s - float(said))
                got[number] += 1
            if got[number] == LINES:
                return


def write(attempts: list[int]) -> None:
    """A line for each log every half second, as a follower would keep them: in one transaction."""
    from django.db import connection  # noqa: PLC0415

    from apps.jobs import logs  # noqa: PLC0415

    places = dict.fromkeys(attempts, 0)
    for _ in range(LINES):
        began_s = time.monotonic()
        said = f"{time.time():.6f}\n".encode()
        new = [logs.Addition(attempt_id=pk, byte_from=places[pk], data=said) for pk in attempts]
        assert not logs.add(TOKEN, new)
        for pk in attempts:
            places[pk] += len(said)
        time.sleep(max(0.0, began_s + EVERY_S - time.monotonic()))
    connection.close()


if __name__ == "__main__":
    main()
