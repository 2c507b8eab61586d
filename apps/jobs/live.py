"""What open pages see of running jobs, fanned out from one listener per web process.

However many streams show a job, its news is read from the database once, by a `Hub`. A stream has
no queue: it goes on when its client has taken what it sent, and one that falls behind what the hub
remembers reads the database in bounded pieces until it has caught up.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from django.db import close_old_connections, connection
from django.db.models import F
from psycopg import sql

from apps.jobs import logs
from apps.jobs.log_models import Log
from apps.jobs.logs import Piece
from apps.jobs.models import Attempt
from apps.lifecycle.nudge import CHANNEL
from regatta.lifecycle.attempt import TERMINAL

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
_POLL_S = 2.0  # should an announcement be lost
_BREATH_S = 0.03  # announcements so near to each other are one reading
_REST_S = 1.0  # after trouble with the database
_RING_BYTES = 1 << 20  # of each watched log, remembered for those that are up to date
T = TypeVar("T")
_threads = ThreadPoolExecutor(4, thread_name_prefix="live")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A job as its page shows it. stored_bytes, log_goes_on, log_ending: of the latest log."""

    attempt_id: int
    number: int
    state: str
    reason: str
    since: datetime
    generation: int
    progress: Mapping[str, Any]
    stored_bytes: int
    log_goes_on: bool
    log_ending: str

    @property
    def is_over(self) -> bool:
        """Whether nothing will be added any more."""
        return self.state in TERMINAL and not self.log_goes_on


@dataclass(frozen=True)
class Text:
    """More of the log of attempt `number`."""

    number: int
    piece: Piece

    @cached_property
    def event(self) -> bytes:
        """As a server-sent event, made once for all streams."""
        number, piece = self.number, self.piece
        place = {"attempt": number, "from": piece.byte_from, "to": piece.byte_to}
        data = json.dumps(place | {"text": piece.text})
        return f"id: {number}:{piece.byte_to}\nevent: log\ndata: {data}\n\n".encode()


@dataclass(frozen=True, slots=True)
class Moved:
    """The job's state block has changed."""

    view: View


@dataclass(frozen=True, slots=True)
class Progressed:
    """What the job reports of itself has changed."""

    view: View


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing happened for HEARTBEAT_S."""


@dataclass(frozen=True, slots=True)
class Over:
    """All is told. log_ending: how the latest attempt's log ended, empty if there is none."""

    log_ending: str


News = Text | Moved | Progressed | Quiet | Over


@dataclass(slots=True)
class Channel:
    """What a process knows of one watched job; `changed` is set once, when there is more."""

    job_id: int
    readers: int = 0
    view: View | None = None
    recent: deque[Text] = field(default_factory=deque)
    begin: int = 0  # `recent` holds the latest attempt's log from here to `end`
    end: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def learn(self, view: View, pieces: Collection[Piece]) -> None:
        """Take in what was read."""
        if self.view is None or self.view.number != view.number:
            self.recent.clear()
            self.begin = self.end = view.stored_bytes if self.view is None else 0
        for piece in pieces:
            if piece.byte_from == self.end:
                self.recent.append(Text(view.number, piece))
                self.end = piece.byte_to
        while self.end - self.begin > _RING_BYTES:
            self.begin = self.recent.popleft().piece.byte_to
        if view != self.view or pieces:
            self.view = view
            self.changed.set()
            self.changed = asyncio.Event()


class Hub:
    """Reads for all streams of one event loop; works while anybody watches."""

    def __init__(self) -> None:
        self._channels: dict[int, Channel] = {}
        self._stale: set[int] = set()
        self._wake = asyncio.Event()
        self._work: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def watch(self, job_id: int) -> AsyncIterator[Channel]:
        """The job's channel, which learns as long as somebody holds it."""
        channel = self._channels.setdefault(job_id, Channel(job_id))
        channel.readers += 1
        if not self._work:
            self._work = [asyncio.create_task(self._listen()), asyncio.create_task(self._read())]
        self._mark([job_id])
        try:
            yield channel
        finally:
            channel.readers -= 1
            if not channel.readers:
                self._channels.pop(job_id, None)
            if not self._channels:
                work, self._work = self._work, []
                for task in work:
                    task.cancel()

    def _mark(self, job_ids: Collection[int]) -> None:
        self._stale.update(job_ids)
        self._wake.set()

    async def _listen(self) -> None:
        """Hear what is announced, on a connection of its own; after a break all may be stale."""
        while True:
            try:
                async with await _connect() as own:
                    await own.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                    self._mark(list(self._channels))
                    async for notice in own.notifies():
                        self._hear(notice.payload)
            except Exception:  # the rim: a listener that ends would leave every page behind
                log.exception("deaf", extra={"action": "listen_failed"})
                await asyncio.sleep(_REST_S)

    def _hear(self, subject: str) -> None:
        for job_id, channel in self._channels.items():
            if channel.view and subject == f"jobs.attempt:{channel.view.attempt_id}":
                self._mark([job_id])

    async def _read(self) -> None:
        """Read what is stale, and now and then everything."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._wake.wait()
                    await asyncio.sleep(_BREATH_S)
            self._wake.clear()
            ids, self._stale = self._stale or set(self._channels), set()
            known = {pk: self._channels[pk] for pk in ids if pk in self._channels}
            try:
                await self._refresh(known)
            except Exception:  # the rim, as above
                log.exception("nothing read", extra={"action": "live_read_failed"})
                self._mark(list(known))
                await asyncio.sleep(_REST_S)

    async def _refresh(self, channels: Mapping[int, Channel]) -> None:
        ends = {pk: (c.view.number, c.end) for pk, c in channels.items() if c.view}
        for pk, (view, pieces) in (await in_thread(lambda: _look(list(channels), ends))).items():
            channels[pk].learn(view, pieces)
            if channels[pk].end < view.stored_bytes:
                self._mark([pk])


def hub() -> Hub:
    """The one of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


async def follow(job_id: int, *, number: int = 1, byte: int = 0) -> AsyncIterator[News]:
    """Tell a job's life from a place in the log of one of its attempts on, until it is over."""
    async with hub().watch(job_id) as channel:
        shown: View | None = None
        while True:
            changed, view = channel.changed, channel.view
            if view is not None:
                if shown is None or view.generation != shown.generation:
                    yield Moved(view)
                if view.progress and (shown is None or view.progress != shown.progress):
                    yield Progressed(view)
                shown = view
                # Asked before reading: what is written in between must not be passed over.
                grows = number < view.number and await in_thread(
                    lambda n=number: _goes_on(job_id, n)  # type: ignore[misc]
                )
                async for text in _texts(channel, view, number, byte):
                    number, byte = text.number, text.piece.byte_to
                    yield text
                if view.is_over and (number, byte) >= (view.number, view.stored_bytes):
                    yield Over(view.log_ending)
                    return
                if number < view.number:
                    if grows:
                        await asyncio.sleep(_REST_S)  # its last bytes are on their way
                    else:
                        number, byte = number + 1, 0
                    continue
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await changed.wait()
            except TimeoutError:
                yield Quiet()


async def _texts(channel: Channel, view: View, number: int, byte: int) -> AsyncIterator[Text]:
    """What the log of one attempt holds after a place, as far as `view` knows."""
    if number < view.number:
        async for text in _from_database(channel.job_id, number, byte, until=None):
            yield text
        return
    while byte < view.stored_bytes and channel.view and channel.view.number == number:
        recent = [text for text in channel.recent if text.piece.byte_from >= byte]
        if byte >= channel.begin and recent and recent[0].piece.byte_from == byte:
            for text in recent:
                yield text
            byte = recent[-1].piece.byte_to
        elif byte >= channel.end:
            return  # the hub is about to read it
        else:
            until = next((t.piece.byte_from for t in recent), channel.end)
            async for text in _from_database(channel.job_id, number, byte, until=until):
                yield text
            byte = until


async def _from_database(
    job_id: int, number: int, byte: int, *, until: int | None
) -> AsyncIterator[Text]:
    while until is None or byte < until:
        some = await in_thread(lambda after=byte: _pieces(job_id, number, after, until))  # type: ignore[misc]
        if not some:
            return
        for piece in some:
            yield Text(number, piece)
        byte = some[-1].byte_to


def _pieces(job_id: int, number: int, after: int, until: int | None) -> list[Piece]:
    attempt = Attempt.objects.filter(job=job_id, number=number).values_list("pk", flat=True)
    return [p for pk in attempt for p in logs.pieces(pk, after=after, until=until)]


def _goes_on(job_id: int, number: int) -> bool:
    return Log.objects.filter(attempt__job=job_id, attempt__number=number, ending="").exists()


def _look(
    job_ids: Collection[int], ends: Mapping[int, tuple[int, int]]
) -> dict[int, tuple[View, list[Piece]]]:
    """Each job as it stands, and what its latest log holds after the end that is known."""
    rows = Attempt.objects.filter(job__in=job_ids, number=F("job__attempt_number"))
    views: dict[int, View] = {}
    behind: dict[int, int] = {}
    for row in rows.select_related("job", "log"):
        kept = getattr(row, "log", None)
        view = View(
            attempt_id=row.pk,
            number=row.number,
            state=row.job.state,
            reason=row.job.reason,
            since=row.job.since,
            generation=row.job.generation,
            progress=row.job.progress,
            stored_bytes=kept.stored_bytes if kept else 0,
            log_goes_on=bool(kept and not kept.ending),
            log_ending=kept.ending if kept else "",
        )
        views[row.job_id] = view
        number, end = ends.get(row.job_id, (row.number, view.stored_bytes))
        end = end if number == row.number else 0
        if end < view.stored_bytes:
            behind[row.pk] = end
    new = logs.after_ends(behind)
    return {pk: (view, new.get(view.attempt_id, [])) for pk, view in views.items()}


async def _connect() -> psycopg.AsyncConnection[Any]:
    given = connection.get_connection_params()
    ours = {key: value for key, value in given.items() if key not in {"context", "cursor_factory"}}
    return await psycopg.AsyncConnection.connect(**ours, autocommit=True)


async def in_thread(work: Callable[[], T], threads: ThreadPoolExecutor = _threads) -> T:
    """Ask the database without holding up the loop; the connection goes back to the pool."""

    def done() -> T:
        try:
            close_old_connections()
            return work()
        finally:
            connection.close()

    return await asyncio.get_running_loop().run_in_executor(threads, done)
