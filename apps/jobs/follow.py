"""Follows the logs of live attempts and keeps them, so that they outlive their cluster.

Run by the ticker. Ray's own tail sleeps up to three seconds between looks and breaks at the first
byte that is not UTF-8 (`file_tail_iterator`, Ray 2.60), so the log file itself is streamed, as
bytes. A stream always begins at the file's start: what is kept already is skipped.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import uuid
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
from django.db import DatabaseError

from apps.accounts.vault import Unreadable
from apps.clusters import selectors as clusters
from apps.clusters.selectors import Endpoint
from apps.jobs import logs, selectors
from apps.jobs.live import in_thread
from apps.jobs.log_mask import Mask
from apps.jobs.log_models import Ending
from apps.jobs.logs import Addition, Followed
from regatta.rayjobs.client import ANSWER_BYTES

log = logging.getLogger(__name__)

SWEEP_S, FLUSH_S = 0.5, 0.25
_FILE_INTERVAL_S = 0.2  # how often Ray looks for new bytes
_TIMEOUT = httpx.Timeout(10.0, connect=3.0, read=300.0)  # a stream so long silent may be dead
_RETRY_S, _RETRY_MOST_S = 0.3, 5.0
_PENDING_MOST_BYTES = 1 << 20  # read ahead of the database, of one log


class NotYet(Exception):
    """The cluster cannot give the log at this moment."""


def follow(stop: threading.Event) -> None:
    """Keep the logs of whatever runs, until told to stop."""
    asyncio.run(Follower(stop).run())


def _endpoint(cluster_id: int) -> Endpoint | None:
    """None also while its token cannot be read: that stops the logs of no other cluster."""
    try:
        return clusters.endpoint(cluster_id)
    except Unreadable as error:
        log.warning("no logs: %s", error, extra={"action": "log_waits", "cluster": cluster_id})
        return None


async def _driver_node(http: httpx.AsyncClient, handle: str) -> str:
    """Where the driver of a job runs; empty before it has started.

    Raises: NotYet when the answer is not about that job.
    """
    body = bytearray()
    async with http.stream("GET", f"/api/jobs/{handle}") as answer:
        answer.raise_for_status()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > ANSWER_BYTES:
                raise NotYet(f"the job's answer has more than {ANSWER_BYTES} bytes")
    job = json.loads(body)
    if not isinstance(job, dict) or job.get("submission_id") != handle:
        raise NotYet("the answer is not about the job that was asked for")
    node = job.get("driver_node_id") or ""
    if not isinstance(node, str):
        raise NotYet("the job's node is no text")
    return node


class Tail:
    """One attempt's log on its way from the cluster to the database."""

    def __init__(self, facts: Followed, secrets: Collection[str]) -> None:
        self.facts = facts
        self.start = facts.stored_bytes  # where `pending` begins
        self.pending = b""
        self.ending = ""
        self.ended = asyncio.Event()
        self.drained = asyncio.Event()
        self.secrets = secrets
        self.begin()

    def begin(self) -> None:
        """A stream begins, at the start of the file."""
        self._mask, self._read_bytes = Mask(self.secrets), 0

    def take(self, piece: bytes, *, last: bool = False) -> None:
        """The next bytes of the stream; those known already only tell how the line began."""
        next_byte = self.start + len(self.pending) + self._mask.held_bytes
        known = max(0, next_byte - self._read_bytes)
        self._read_bytes += len(piece)
        self._mask.skip(piece[:known])
        self.pending += self._mask.feed(piece[known:], last=last)
        room = logs.MOST_BYTES - self.start
        if len(self.pending) > room:
            self.pending, self.ending = self.pending[:room], Ending.TOO_LONG

    def wrote(self, size: int) -> None:
        """So much of `pending` is kept."""
        self.start, self.pending = self.start + size, self.pending[size:]
        self.drained.set()


class Follower:
    """Holds the leases of many logs, and a stream for each."""

    def __init__(self, stop: threading.Event) -> None:
        self.token = uuid.uuid4()
        self._stop = stop
        self._tails: dict[int, Tail] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._endpoints: Mapping[int, Endpoint | None] = {}
        self._clients: dict[Endpoint, httpx.AsyncClient] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="logs")  # one connection

    async def run(self) -> None:
        """Until told to stop; what was read by then is kept, and the logs are let go."""
        flusher = asyncio.create_task(self._flush_for_ever())
        try:
            while not self._stop.is_set() and not flusher.done():
                try:
                    await self._sweep()
                except DatabaseError as error:
                    log.warning("no sweep: %s", error, extra={"action": "log_sweep_failed"})
                await asyncio.sleep(SWEEP_S)
        finally:
            await _end([flusher, *self._tasks.values()])
            await self._flush()
            await in_thread(lambda: logs.let_go(self.token), self._thread)
            for client in self._clients.values():
                await client.aclose()
            self._thread.shutdown()
        if flusher.done() and not flusher.cancelled():
            flusher.result()

    async def _sweep(self) -> None:
        """Take over what nobody follows, drop what is no longer ours, and pass on the news."""
        held, secrets, self._endpoints = await in_thread(self._look, self._thread)
        for pk in set(self._tails) - {facts.attempt_id for facts in held}:
            await self._drop(pk)
        for facts in held:
            pk = facts.attempt_id
            if pk in secrets:
                self._tails[pk] = Tail(facts, secrets[pk])
                self._tasks[pk] = asyncio.create_task(self._keep(self._tails[pk]))
            if tail := self._tails.get(pk):
                tail.facts = facts
                if facts.ended:
                    tail.ended.set()
        for pk, task in list(self._tasks.items()):
            if task.done() and not task.cancelled() and (error := task.exception()):
                log.error("stopped", exc_info=error, extra={"action": "log_lost", "attempt": pk})
                await self._drop(pk)  # the next sweep begins anew
        for endpoint in set(self._clients) - set(self._endpoints.values()):
            await self._clients.pop(endpoint).aclose()

    def _look(
        self,
    ) -> tuple[list[Followed], dict[int, Collection[str]], Mapping[int, Endpoint | None]]:
        held = logs.take_over(self.token)
        secrets: dict[int, Collection[str]] = {}
        for facts in held:
            if facts.attempt_id not in self._tails:
                with suppress(Unreadable):  # not kept while its secrets cannot be masked
                    secrets[facts.attempt_id] = selectors.values_to_mask(facts.attempt_id)
        ids = {facts.cluster_id for facts in held}
        return held, secrets, {pk: _endpoint(pk) for pk in ids}

    async def _keep(self, tail: Tail) -> None:
        """Stream a log until its attempt ends, then read the rest."""
        wait_s = _RETRY_S
        while not tail.ending:
            if tail.facts.given_up:
                tail.ending = Ending.UNREACHABLE
                return
            try:
                if tail.ended.is_set():
                    await self._read(tail, "file")
                    tail.take(b"", last=True)
                    tail.ending = tail.ending or Ending.COMPLETE
                    return
                await self._stream(tail)
                wait_s = _RETRY_S
            except (NotYet, httpx.HTTPError, ValueError) as error:
                extra = {"action": "log_waits", "attempt": tail.facts.attempt_id}
                log.debug("%s: %s", type(error).__name__, error, extra=extra)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _RETRY_MOST_S)

    async def _stream(self, tail: Tail) -> None:
        """Until the stream breaks off or the attempt has ended."""
        reading = asyncio.create_task(self._read(tail, "stream"))
        ended = asyncio.create_task(tail.ended.wait())
        try:
            await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end([reading, ended])
        if not reading.cancelled():
            reading.result()

    async def _read(self, tail: Tail, media: str) -> None:
        """The log file from its start: to its present end (`file`), or for ever (`stream`)."""
        endpoint = self._endpoints.get(tail.facts.cluster_id)
        if endpoint is None:
            raise NotYet("the cluster is not ready")
        http = self._client(endpoint)
        handle = tail.facts.handle
        node = await _driver_node(http, handle)
        if not node and not tail.facts.ended:
            raise NotYet("its driver has not started")
        params = {"node_id": node, "filename": f"job-driver-{handle}.log", "lines": "-1"}
        if media == "stream":
            params["interval"] = str(_FILE_INTERVAL_S)
        try:  # by now it was started: with which values is sealed
            pk = tail.facts.attempt_id
            tail.secrets = await in_thread(lambda: selectors.values_to_mask(pk), self._thread)
        except (Unreadable, DatabaseError) as error:
            raise NotYet("its secrets cannot be masked") from error
        tail.begin()
        async with http.stream("GET", f"/api/v0/logs/{media}", params=params) as answer:
            if answer.status_code != httpx.codes.OK:
                said = (await answer.aread()).decode(errors="replace")[:200]
                if tail.facts.ended and "file is not found" in said and not tail.start:
                    return  # it ended before it could write
                raise NotYet(said)
            async for piece in answer.aiter_bytes():
                tail.take(piece)
                if tail.ending:
                    return
                while len(tail.pending) > _PENDING_MOST_BYTES:
                    tail.drained.clear()
                    await tail.drained.wait()

    def _client(self, endpoint: Endpoint) -> httpx.AsyncClient:
        if endpoint not in self._clients:
            self._clients[endpoint] = httpx.AsyncClient(
                base_url=endpoint.address,
                headers={"Authorization": f"Bearer {endpoint.token}"},
                timeout=_TIMEOUT,
                limits=httpx.Limits(max_connections=None),
                trust_env=False,  # the token is for the head, not for a proxy
            )
        return self._clients[endpoint]

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        """Keep what was read since the last time; a database that is away is asked again."""
        additions = [
            Addition(attempt_id=pk, byte_from=tail.start, data=tail.pending, ending=tail.ending)
            for pk, tail in self._tails.items()
            if tail.pending or tail.ending
        ]
        if not additions:
            return
        try:
            lost = await in_thread(lambda: logs.add(self.token, additions), self._thread)
        except DatabaseError as error:
            log.warning("not kept yet: %s", error, extra={"action": "log_flush_failed"})
            return
        for one in additions:
            if one.attempt_id in lost or one.ending:
                await self._drop(one.attempt_id)
            elif tail := self._tails.get(one.attempt_id):
                tail.wrote(len(one.data))

    async def _drop(self, pk: int) -> None:
        self._tails.pop(pk, None)
        if task := self._tasks.pop(pk, None):
            await _end([task])


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
