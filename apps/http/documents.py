"""JSON from clients and to them: read is only what the database, Ray and any reader can take."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
    (zero bytes, halves of surrogate pairs), and more levels than DEEPEST.
    """
    try:
        given = json.loads(body, parse_constant=_no_number)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise Refused("invalid_json", _("The body is not JSON."), status=400) from error
    for pointer, value in _parts(given):
        if isinstance(value, str) and not _is_storable(value):
            raise Refused(
                "bad_text",
                _("A text has no zero bytes and no half characters (surrogates)."),
                pointer=pointer,
            )
        if isinstance(value, float) and not isfinite(value):
            raise Refused("bad_number", _("This number is too large."), pointer=pointer)
    return given


def _parts(given: Any) -> Iterator[tuple[str, Any]]:
    """Every name and value, with the JSON pointer of where it stands."""
    waiting: list[tuple[str, Any, int]] = [("", given, 0)]
    while waiting:
        pointer, value, depth = waiting.pop()
        if depth > DEEPEST:
            raise _too_deep()
        yield pointer, value
        if isinstance(value, dict):
            yield from ((pointer, name) for name in value)
            waiting += [(f"{pointer}/{_plain(n)}", v, depth + 1) for n, v in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{pointer}/{n}", v, depth + 1) for n, v in enumerate(value)]


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _plain(name: str) -> str:
    return ascii(name)[1:-1][:80]


def _too_deep() -> Refused:
    return Refused("too_deep", _("A document has at most %(n)d levels.") % {"n": DEEPEST})


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)
