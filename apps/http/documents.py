"""JSON from clients and to them: read is only what the database, Ray and any reader can take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any, NoReturn

import orjson
from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja.parser import Parser
from ninja.renderers import BaseRenderer
from ninja.responses import NinjaJSONEncoder

from apps.http.problems import Refused

DEEPEST = 64  # as deep as Ray's own server still reads back
MOST_PARTS = 100_000


class JsonParser(Parser):
    """Of the API: bodies are JSON and say so."""

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type != "application/json":
            raise Refused(
                "not_json",
                _("Send the body as JSON, with Content-Type: application/json."),
                status=415,
            )
        return read_json(request.body)


class JsonRenderer(BaseRenderer):
    """Of the API: ten times as fast as the standard library's, which a list of rows feels."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return write_json(data)


def write_json(data: Any) -> bytes:
    """A document of plain data, dates and Decimals (as texts).

    Raises: TypeError for anything else.
    """
    try:
        return orjson.dumps(data, default=NinjaJSONEncoder().default, option=orjson.OPT_UTC_Z)
    except TypeError:  # it refuses whole numbers of more than 64 bits, which jobs may report
        return json.dumps(data, cls=NinjaJSONEncoder).encode()


def read_json(body: bytes) -> Any:
    """The document of a body.

    Raises: Refused for what is no JSON, numbers without an end, texts that cannot be stored
    (zero bytes, halves of surrogate pairs), more levels than DEEPEST and parts than MOST_PARTS.
    """
    _refuse_many_marks(body)
    try:
        given = json.loads(body, parse_constant=_no_number)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise Refused("invalid_json", _("The body is not JSON."), status=400) from error
    for number, (names, value) in enumerate(_parts(given)):
        if number > MOST_PARTS:
            raise _too_many_parts()
        if isinstance(value, str) and not _is_storable(value):
            raise Refused(
                "bad_text",
                _("A text has no zero bytes and no half characters (surrogates)."),
                pointer=_pointer(names),
            )
        if isinstance(value, float) and not isfinite(value):
            raise Refused("bad_number", _("This number is too large."), pointer=_pointer(names))
    return given


def _parts(given: Any) -> Iterator[tuple[Sequence[str | int], Any]]:
    """Every name and value, with the names that lead to it, in a list that changes meanwhile."""
    names: list[str | int] = []
    yield names, given
    inside = [_members(given)]  # of each level, what is still to come
    while inside:
        del names[len(inside) - 1 :]
        if (member := next(inside[-1], None)) is None:
            inside.pop()
            continue
        name, value = member
        if isinstance(name, str):
            yield names, name
        names.append(name)
        if len(names) > DEEPEST:
            raise _too_deep()
        yield names, value
        if isinstance(value, dict | list):
            inside.append(_members(value))


def _members(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return iter(value.items())
    return enumerate(value) if isinstance(value, list) else iter(())


def _pointer(names: Sequence[str | int]) -> str:
    """The JSON pointer of a part (RFC 6901), its names in ASCII."""
    return "".join(f"/{ascii(str(name))[1:-1][:80]}" for name in names)


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _refuse_many_marks(body: bytes) -> None:
    """Refuse what has too many parts before it is read: 8 MB of them take seconds and gigabytes.

    A part has at most two marks: what parts it from the one before, and the bracket it opens.
    """
    if len(body) <= 2 * MOST_PARTS:
        return
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') > 2 * MOST_PARTS:
        raise _too_many_parts()
    between_texts = b"".join(plain.split(b'"')[::2])
    if sum(map(between_texts.count, (b",", b":", b"[", b"{"))) > 2 * MOST_PARTS:
        raise _too_many_parts()


def _too_many_parts() -> Refused:
    said = _("A document has at most %(n)d names and values.") % {"n": MOST_PARTS}
    return Refused("too_many_parts", said)


def _too_deep() -> Refused:
    return Refused("too_deep", _("A document has at most %(n)d levels.") % {"n": DEEPEST})


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)
