"""Takes in what jobs report, each batch once, and what nodes are seen to use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from math import isfinite
from typing import Any

from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from apps.http.problems import Refused
from apps.insights.models import (
    MetricKey,
    MetricPoint,
    NodeMinute,
    NodeSample,
    TelemetryStream,
    Usage,
)
from apps.jobs import services as jobs
from apps.lifecycle.nudge import announce
from regatta.telemetry.batch import BATCH_POINTS, MOST_POINTS, Batch

MOST_SERIES = 2000  # of an attempt, over all its ranks
SAMPLES_KEPT, MINUTES_KEPT = timedelta(days=7), timedelta(days=90)
METRICS_KEPT = timedelta(days=180)  # after the last word of an attempt
_ATTEMPTS_AT_ONCE = 100  # forgotten in one pass, each of perhaps a million points
_NEWS_EVERY_S = 0.5  # of an attempt and a process; a page is not drawn more often
_PROGRESS = ("total_steps", "loss", "val_loss", "tokens_per_s", "step_s")

_key_ids: dict[str, int] = {}
_told: dict[int, float] = {}

_COLUMNS = {
    "attempt_id": "int8",
    "key_id": "int4",
    "step": "int8",
    "stream_id": "int8",
    "place": "int8",
    "rank": "int4",
    "value": "float8",
    "at": "timestamptz",
}
_COPY = f"COPY insights_metricpoint ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT BINARY)"


@dataclass(slots=True)
class Head:
    """What a batch says of one series: its first point, its latest, and how many."""

    points: int
    first_step: int
    first_value: float
    step: int
    value: float
    at: float


def take_in(batch: Batch, *, attempt_id: int) -> int:
    """Store a batch, whole and once; returns how many points were stored, 0 for a repeated one.

    Raises: Refused for a batch that comes after a later one of its stream, and for too many
    series.
    """
    with transaction.atomic():
        stream_id = _open_stream(batch, attempt_id)
        if stream_id is None:
            return 0
        key_ids = _ids_of(batch.keys)
        heads = _heads(batch)
        _copy(batch, attempt_id=attempt_id, stream_id=stream_id, key_ids=key_ids)
        _move_heads(heads, attempt_id=attempt_id, rank=batch.rank, key_ids=key_ids)
        named = {batch.keys[key]: head for key, head in heads.items()}
        _tell(attempt_id, named, is_full=len(batch.rows) >= BATCH_POINTS)
    return len(batch.rows)


def _open_stream(batch: Batch, attempt_id: int) -> int | None:
    """The id of the batch's stream, locked until the end; None when it has this batch."""
    given = (attempt_id, batch.stream, batch.rank, batch.seq, batch.dropped, len(batch.rows))
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO insights_telemetrystream AS s
                   (attempt_id, name, rank, last_seq, dropped, points)
            VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (attempt_id, name) DO UPDATE SET
                   last_seq = excluded.last_seq, last_at = now(), rank = excluded.rank,
                   dropped = greatest(s.dropped, excluded.dropped),
                   points = s.points + excluded.points
             WHERE s.last_seq < excluded.last_seq
            RETURNING id
            """,
            given,
        )
        if found := cursor.fetchone():
            return int(found[0])
        cursor.execute(
            "SELECT last_seq FROM insights_telemetrystream WHERE attempt_id = %s AND name = %s",
            [attempt_id, batch.stream],
        )
        [last_seq] = cursor.fetchone()
    if batch.seq < last_seq:
        raise Refused(
            "out_of_order",
            _("Batch %(last)d of this stream is here already: send batches in order, one by one.")
            % {"last": last_seq},
            status=409,
            pointer="/seq",
        )
    return None


def _ids_of(names: Sequence[str]) -> list[int]:
    """The numbers of the names; new ones are remembered once they are committed."""
    unknown = sorted(set(names) - _key_ids.keys())
    fresh: dict[str, int] = {}
    if unknown:
        MetricKey.objects.bulk_create(
            [MetricKey(name=name) for name in unknown], ignore_conflicts=True
        )
        fresh = dict(MetricKey.objects.filter(name__in=unknown).values_list("name", "id"))
        transaction.on_commit(partial(_key_ids.update, fresh))
    return [fresh[name] if name in fresh else _key_ids[name] for name in names]


def _heads(batch: Batch) -> dict[int, Head]:
    """By the place of its key; of points of one step, the later counts."""
    heads: dict[int, Head] = {}
    for key, step, value, at in batch.rows:
        head = heads.get(key)
        if head is None:
            heads[key] = Head(1, step, value, step, value, at)
            continue
        head.points += 1
        if step >= head.step:
            head.step, head.value, head.at = step, value, at
        elif step < head.first_step:
            head.first_step, head.first_value = step, value
    return heads


def _copy(batch: Batch, *, attempt_id: int, stream_id: int, key_ids: Sequence[int]) -> None:
    place, rank = batch.seq * MOST_POINTS, batch.rank
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(list(_COLUMNS.values()))
        for row, (key, step, value, at) in enumerate(batch.rows):
            moment = datetime.fromtimestamp(at, UTC)
            copy.write_row(
                (attempt_id, key_ids[key], step, stream_id, place + row, rank, value, moment)
            )


def _move_heads(
    heads: dict[int, Head], *, attempt_id: int, rank: int, key_ids: Sequence[int]
) -> None:
    """Always in the order of keys, so that two processes of a rank never wait for each other."""
    rows = [
        (
            *(attempt_id, key_ids[key], rank, head.points, head.first_step, head.first_value),
            *(head.step, head.value, datetime.fromtimestamp(head.at, UTC)),
        )
        for key, head in heads.items()
    ]
    rows.sort()
    values = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s, %s)"] * len(rows))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO insights_serieshead AS h (attempt_id, key_id, rank, points,
                   first_step, first_value, step, value, at) VALUES {values}
            ON CONFLICT (attempt_id, key_id, rank) DO UPDATE SET
                   points = h.points + excluded.points,
                   step = greatest(h.step, excluded.step),
                   value = CASE WHEN excluded.step >= h.step THEN excluded.value ELSE h.value END,
                   at = CASE WHEN excluded.step >= h.step THEN excluded.at ELSE h.at END
            RETURNING xmax = 0
            """,
            [value for row in rows for value in row],
        )
        if any(is_new for (is_new,) in cursor.fetchall()):
            _refuse_too_many(cursor, attempt_id)


def _refuse_too_many(cursor: Any, attempt_id: int) -> None:
    cursor.execute("SELECT count(*) FROM insights_serieshead WHERE attempt_id = %s", [attempt_id])
    [count] = cursor.fetchone()
    if count > MOST_SERIES:
        raise Refused(
            "too_many_series",
            _("An attempt has at most %(most)d series: put no step or id into a metric's name.")
            % {"most": MOST_SERIES},
            pointer="/keys",
        )


def _tell(attempt_id: int, heads: dict[str, Head], *, is_full: bool) -> None:
    """Let the job's row and its open pages know how far it is.

    A process sends two batches a second, but for full ones: only of those, some are left out.
    """
    now = time.monotonic()
    if is_full and now - _told.get(attempt_id, 0.0) < _NEWS_EVERY_S:
        return
    if len(_told) > 1000:
        _told.clear()
    _told[attempt_id] = now
    news = {name: heads[name].value for name in _PROGRESS if name in heads}
    steps = [heads[name].step for name in ("loss", "total_steps") if name in heads]
    if steps:
        finite = {name: value for name, value in news.items() if isfinite(value)}
        if "total_steps" in finite:
            finite["total_steps"] = round(finite["total_steps"])  # pages show it as a count
        jobs.note_progress(attempt_id, step=max(steps), **finite)
    announce(f"jobs.attempt:{attempt_id}")


def roll_up() -> None:
    """Write the means of every minute from the last one written on; doing it again is harmless."""
    names = [field.name for field in Usage._meta.get_fields()]
    means = [name for name in names if name not in ("node_id", "cluster_id")]
    whole = {"memory_bytes", "memory_used_bytes"}
    columns = ", ".join(means)
    values = ", ".join(f"avg({n})::bigint" if n in whole else f"avg({n})" for n in means)
    updates = ", ".join(f"{name} = excluded.{name}" for name in [*means, "samples"])
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO insights_nodeminute (node_id, cluster_id, minute, samples, {columns})
            SELECT node_id, cluster_id, date_trunc('minute', at, 'UTC'), count(*), {values}
              FROM insights_nodesample
             WHERE at >= coalesce((SELECT max(minute) FROM insights_nodeminute), '-infinity')
             GROUP BY 1, 2, 3
            ON CONFLICT (node_id, minute) DO UPDATE SET {updates}
            """
        )


def prune() -> None:
    """Forget what is older than anybody looks back; of metrics the first and last values stay."""
    NodeSample.objects.filter(at__lt=Now() - SAMPLES_KEPT).delete()
    NodeMinute.objects.filter(minute__lt=Now() - MINUTES_KEPT).delete()
    streams = TelemetryStream.objects.values_list("attempt_id", flat=True)
    silent = streams.annotate(last=Max("last_at")).filter(last__lt=Now() - METRICS_KEPT)
    for attempt_id in list(silent[:_ATTEMPTS_AT_ONCE]):
        with transaction.atomic():  # one by one: what is done stays, should the pass be cut off
            MetricPoint.objects.filter(attempt_id=attempt_id).delete()
            TelemetryStream.objects.filter(attempt_id=attempt_id).delete()
