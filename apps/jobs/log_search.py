"""Finds lines of a kept log, within a bounded time whatever the pattern is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import DataError, OperationalError, connection, transaction
from django.utils.translation import gettext as _

from apps.http.limits import Room
from apps.http.problems import Refused
from apps.jobs import logs

HITS_MOST = 500
_WORDS_CHARS, _LINE_CHARS, _LINES_AT_ONCE = 200, 2000, 2000
_LINE_BYTES = 4 * _LINE_CHARS
_SEARCH_S = 5.0
_SEARCHING = Room(working=2, waiting=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a log, counted from 1; `byte_from` is where it begins."""

    number: int
    byte_from: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Lines that match; `complete`: whether the whole log was looked through."""

    lines: Sequence[Line]
    complete: bool


def search(attempt_id: int, *, q: str, is_regex: bool = False, limit: int = 100) -> Found:
    """Lines that contain `q`, in any case, or match it as a PostgreSQL regular expression.

    The database matches expressions, since it can be told to stop; of a line, the first
    2,000 characters count.
    Raises: Refused for an expression that is none, or is too slow; for a wrong length or limit;
    when too many search at once.
    """
    if not 1 <= len(q) <= _WORDS_CHARS or not 1 <= limit <= HITS_MOST:
        said = _("Search for 1 to %(chars)d characters, with a limit from 1 to %(most)d.")
        words = {"chars": _WORDS_CHARS, "most": HITS_MOST}
        raise Refused("bad_search", said % words, pointer="/q")
    hits, wanted = list[Line](), q.casefold()
    with _SEARCHING.enter():
        deadline_s = time.monotonic() + _SEARCH_S
        for some in _some_lines(attempt_id):
            if is_regex:
                hits += _matching(some, q)
            else:
                hits += [line for line in some if wanted in line.text.casefold()]
            if len(hits) >= limit or time.monotonic() > deadline_s:
                return Found(lines=hits[:limit], complete=False)
    return Found(lines=hits, complete=True)


def _matching(lines: Sequence[Line], expression: str) -> list[Line]:
    texts = [line.text for line in lines]
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '2s'")
            cursor.execute(
                "SELECT place FROM unnest(%s::text[]) WITH ORDINALITY AS line (said, place)"
                " WHERE said ~* %s ORDER BY place",
                [texts, expression],
            )
            return [lines[place - 1] for (place,) in cursor.fetchall()]
    except (DataError, OperationalError) as error:
        said = _("This is no regular expression, or one that takes too long: %(error)s")
        first = str(error).splitlines()[0]
        raise Refused("bad_expression", said % {"error": first}, pointer="/q") from error


def _some_lines(attempt_id: int) -> Iterator[list[Line]]:
    """The log's lines, many at once."""
    some: list[Line] = []
    number, begin, head, size = 1, 0, b"", 0  # of a line: what counts, and how long it is
    for piece in logs.all_pieces(attempt_id):
        rest, *others = piece.data.split(b"\n")
        head, size = (head + rest)[:_LINE_BYTES], size + len(rest)
        for line in others:
            some.append(_line(number, begin, head))
            number, begin = number + 1, begin + size + 1
            head, size = line[:_LINE_BYTES], len(line)
        if len(some) >= _LINES_AT_ONCE:
            yield some
            some = []
    yield [*some, _line(number, begin, head)] if size else some


def _line(number: int, byte_from: int, data: bytes) -> Line:
    text = data.decode(errors="replace")[:_LINE_CHARS]
    return Line(number=number, byte_from=byte_from, text=text.rstrip("\r").replace("\0", "\ufffd"))
