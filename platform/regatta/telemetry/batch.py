"""Some points of one process as they travel: written in the job, read in the portal.

    {"stream": "6f1c…", "seq": 7, "rank": 0, "dropped": 0,
     "keys": ["loss", "step_s"], "points": [[0, 12, 2.31, 1764000000.25], [1, 12, 0.1, …]]}

A point is the place of its key, its step, its value, and its time in seconds since 1970. JSON has
no word for a value that is not finite: those are "NaN", "Infinity" and "-Infinity". A process is
a stream, and numbers its batches from 1 on; `dropped` counts the points that it had to let go.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

Point = tuple[str, int, float, float]  # key, step, value, seconds since 1970

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,79}")
BATCH_POINTS = 1000  # as many as a job's process puts into one
MOST_POINTS, MOST_KEYS, MOST_BYTES = 10_000, 100, 1 << 20
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_MOST = 2**63 - 1
_MOST_BATCHES = 2**40
_LATEST_S = 4_102_444_800  # the year 2100
_FIELDS = {"stream", "seq", "rank", "dropped", "keys", "points"}


class Malformed(ValueError):
    """A batch that is none. pointer: the JSON pointer of what is wrong."""

    def __init__(self, pointer: str, why: str) -> None:
        super().__init__(f"{pointer or '/'}: {why}")
        self.pointer, self.why = pointer, why


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What arrived: `rows` are (place of the key, step, value, seconds since 1970)."""

    stream: UUID
    seq: int
    rank: int
    dropped: int
    keys: Sequence[str]
    rows: Sequence[tuple[int, int, float, float]]


def encode(points: Iterable[Point], *, stream: str, seq: int, rank: int, dropped: int) -> bytes:
    """A batch on one line."""
    keys: dict[str, int] = {}
    rows = [
        [keys.setdefault(key, len(keys)), step, _plain(value), round(at, 3)]
        for key, step, value, at in points
    ]
    batch = {"stream": stream, "seq": seq, "rank": rank, "dropped": dropped}
    batch |= {"keys": list(keys), "points": rows}
    return json.dumps(batch, separators=(",", ":")).encode()


def decode(body: bytes) -> Batch:
    """Read a batch, whole or not at all.

    Raises: Malformed.
    """
    given = _object(body)
    keys = given["keys"]
    if not isinstance(keys, list) or not 1 <= len(keys) <= MOST_KEYS:
        raise Malformed("/keys", f"from 1 to {MOST_KEYS} names are needed")
    for place, key in enumerate(keys):
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise Malformed(f"/keys/{place}", "a name is like val_loss or train/loss")
    if len(set(keys)) != len(keys):
        raise Malformed("/keys", "a name stands here twice")
    points = given["points"]
    if not isinstance(points, list) or not 1 <= len(points) <= MOST_POINTS:
        raise Malformed("/points", f"from 1 to {MOST_POINTS} points are needed")
    return Batch(
        stream=_uuid(given["stream"]),
        seq=_whole(given["seq"], "/seq", least=1, most=_MOST_BATCHES),
        rank=_whole(given.get("rank", 0), "/rank", most=2**31 - 1),
        dropped=_whole(given.get("dropped", 0), "/dropped"),
        keys=keys,
        rows=[_row(point, len(keys), place) for place, point in enumerate(points)],
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed("", f"this is no JSON: {error}"[:200]) from error
    if not isinstance(given, dict):
        raise Malformed("", "an object is needed")
    if strange := sorted(given.keys() - _FIELDS):
        raise Malformed(f"/{strange[0][:80]}", "there is no such field")
    for name in ("stream", "seq", "keys", "points"):
        if name not in given:
            raise Malformed(f"/{name}", "this field is needed")
    return given


def _row(point: Any, keys: int, place: int) -> tuple[int, int, float, float]:
    """One point, checked; this runs for every number that a job reports."""
    if type(point) is list and len(point) == 4:
        key, step, value, at = point
        if type(value) is str:
            value = _WORDS.get(value)
        if (
            type(key) is int
            and 0 <= key < keys
            and type(step) is int
            and 0 <= step <= _MOST
            and (type(value) is float or type(value) is int)
            and (type(at) is float or type(at) is int)
            and 0 <= at < _LATEST_S
        ):
            try:
                return key, step, float(value), at
            except OverflowError:
                pass  # a whole number beyond every float: told below
    raise Malformed(
        f"/points/{place}",
        "a point is [place of its key, step, value, seconds since 1970], such as "
        '[0, 12, 2.31, 1764000000.25]; a value that is not finite is "NaN", "Infinity" '
        'or "-Infinity"',
    )


def _refuse_constant(word: str) -> None:
    msg = f"{word} must be in quotes"
    raise ValueError(msg)


def _whole(value: Any, pointer: str, *, least: int = 0, most: int = _MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise Malformed(pointer, f"a whole number from {least} to {most} is needed")
    return value


def _uuid(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise Malformed("/stream", "a UUID is needed") from error


def _plain(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
