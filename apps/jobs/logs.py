"""The kept logs: written by one follower at a time, and read in bounded pieces."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.jobs.log_models import Log, LogChunk
from apps.jobs.models import Attempt, Job
from apps.lifecycle.nudge import CHANNEL
from regatta.lifecycle.attempt import TERMINAL

MOST_BYTES = 200 << 20  # of one attempt's log
CHUNK_BYTES = 64 << 10
PIECE_BYTES = 256 << 10  # so much is read at once, whoever asks for how much
LEASE = timedelta(seconds=15)
FINAL_FLUSH = timedelta(seconds=60)  # after an end, before the rest is given up


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A log that a follower holds, and what it must know to go on."""

    attempt_id: int
    job_id: int
    handle: str
    cluster_id: int
    stored_bytes: int
    ended: bool
    given_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """Bytes to be kept from `byte_from` on, and how the keeping ends, if it does."""

    attempt_id: int
    byte_from: int
    data: bytes
    ending: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of an attempt's log."""

    byte_from: int
    data: bytes

    @property
    def byte_to(self) -> int:
        return self.byte_from + len(self.data)

    @property
    def text(self) -> str:
        """As it can be shown: what is not UTF-8 is replaced."""
        return self.data.decode(errors="replace")


# For followers.


def take_over(token: uuid.UUID, *, limit: int = 100) -> list[Followed]:
    """Lease logs that nobody follows, keep the leases of those held, and tell of all held."""
    going_on = Log.objects.filter(ending="")
    free = going_on.filter(Q(lease_until=None) | Q(lease_until__lt=Now()))
    with transaction.atomic():
        rows = free.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit]
        mine = going_on.filter(pk__in=list(rows))
        mine.update(lease_token=token, lease_until=Now() + LEASE)
    held = going_on.filter(lease_token=token)
    held.filter(lease_until__lt=Now() + LEASE / 2).update(lease_until=Now() + LEASE)
    return [_followed(log) for log in held.select_related("attempt__job")]


def add(token: uuid.UUID, additions: Iterable[Addition]) -> set[int]:
    """Keep what is new, and tell open pages. Answers the attempts whose log is no longer ours.

    The fence: bytes are added only by whom the lease names, and only where the log ends.
    """
    if not (new := list(additions)):
        return set()
    with transaction.atomic(), connection.cursor() as cursor:
        columns = zip(
            *((x.attempt_id, x.byte_from, len(x.data), x.ending) for x in new), strict=True
        )
        given: list[Any] = [LEASE, *map(list, columns), token]
        cursor.execute(_EXTEND, given)
        kept = {pk for (pk,) in cursor.fetchall()}
        ended = [one.attempt_id for one in new if one.ending and one.attempt_id in kept]
        Attempt.objects.filter(pk__in=ended).exclude(sealed_secrets="").update(sealed_secrets="")
        LogChunk.objects.bulk_create(
            chunk for one in new if one.attempt_id in kept for chunk in _chunks(one)
        )
        subjects = [f"jobs.attempt:{pk}" for pk in kept]
        cursor.execute("SELECT pg_notify(%s, unnest(%s::text[]))", [CHANNEL, subjects])
    return {one.attempt_id for one in new} - kept


def let_go(token: uuid.UUID) -> None:
    """Leave the logs to the next follower at once."""
    held = Log.objects.filter(lease_token=token, ending="")
    held.update(lease_token=None, lease_until=None)


def _followed(log: Log) -> Followed:
    attempt = log.attempt
    ended = attempt.state in TERMINAL
    return Followed(
        attempt_id=attempt.pk,
        job_id=attempt.job_id,
        handle=attempt.handle,
        cluster_id=attempt.job.cluster_id,
        stored_bytes=log.stored_bytes,
        ended=ended,
        given_up=ended and timezone.now() - attempt.since > FINAL_FLUSH,
    )


_EXTEND = """
UPDATE jobs_log AS log SET
  stored_bytes = log.stored_bytes + new.size,
  lease_until = statement_timestamp() + %s,
  ending = new.ending,
  ended_at = CASE WHEN new.ending <> '' THEN statement_timestamp() END
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
  AS new (attempt_id, byte_from, size, ending)
WHERE log.attempt_id = new.attempt_id AND log.stored_bytes = new.byte_from
  AND log.ending = '' AND log.lease_token = %s
RETURNING log.attempt_id
"""


def _chunks(one: Addition) -> Iterator[LogChunk]:
    for start, end in _cuts(one.data):
        place = {"byte_from": one.byte_from + start, "byte_to": one.byte_from + end}
        yield LogChunk(attempt_id=one.attempt_id, data=one.data[start:end], **place)


def _cuts(data: bytes) -> Iterator[tuple[int, int]]:
    """Pieces of at most CHUNK_BYTES that part no character."""
    start = 0
    while start < len(data):
        end = min(start + CHUNK_BYTES, len(data))
        while end < len(data) and end > start + 1 and data[end] & 0xC0 == 0x80:
            end -= 1
        yield start, end
        start = end


# For readers.


def log_of(job: Job, number: int | None = None) -> Log | None:
    """The log of a job's attempt (None: the latest); None when it never began to run."""
    logs = Log.objects.select_related("attempt").filter(attempt__job=job)
    if number is not None:
        return logs.filter(attempt__number=number).first()
    return logs.order_by("-attempt__number").first()


def pieces(
    attempt_id: int, *, after: int = 0, until: int | None = None, most_bytes: int = PIECE_BYTES
) -> list[Piece]:
    """The kept log from byte `after` on, to `until` at most, in order; some, not all of it.

    No chunk is longer than CHUNK_BYTES, so that the index finds the first one at any depth.
    """
    end = after + most_bytes if until is None else min(after + most_bytes, until)
    if end <= after:
        return []
    near = LogChunk.objects.filter(byte_from__gt=after - CHUNK_BYTES, byte_from__lt=end)
    rows = near.filter(attempt_id=attempt_id, byte_to__gt=after).order_by("byte_from")
    return [_part(row, after, until) for row in rows]


def after_ends(ends: Mapping[int, int]) -> dict[int, list[Piece]]:
    """What each attempt's log holds after the end that somebody has seen, in one query; some."""
    found: dict[int, list[Piece]] = {pk: [] for pk in ends}
    new = [
        Q(attempt_id=pk, byte_from__gte=end, byte_from__lt=end + PIECE_BYTES)
        for pk, end in ends.items()
    ]
    rows = LogChunk.objects.filter(reduce(or_, new)) if new else []
    for row in sorted(rows, key=lambda row: row.byte_from):
        found[row.attempt_id].append(Piece(row.byte_from, bytes(row.data)))
    return found


def _part(row: LogChunk, after: int, until: int | None) -> Piece:
    start = max(row.byte_from, after)
    end = row.byte_to if until is None else min(row.byte_to, until)
    return Piece(start, bytes(row.data)[start - row.byte_from : end - row.byte_from])


def all_pieces(attempt_id: int, *, start: int = 0, until: int | None = None) -> Iterator[Piece]:
    """The kept log piece by piece, as long as it was when it is read."""
    while found := pieces(attempt_id, after=start, until=until):
        yield from found
        start = found[-1].byte_to


def tail_start(log: Log, *, tail_bytes: int) -> int:
    """Where the first whole line among the last `tail_bytes` begins."""
    start = log.stored_bytes - tail_bytes
    if start <= 0:
        return 0
    for piece in all_pieces(log.pk, start=start):
        if b"\n" in piece.data:
            return piece.byte_from + piece.data.index(b"\n") + 1
    return start
