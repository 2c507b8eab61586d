"""Takes secrets out of a log as it flows by, however it is cut into pieces. Pure.

What is masked keeps its length, so that a place in the kept log is that place in the job's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SHORTEST = 4  # a shorter secret is found in every other word
_LINE_BYTES = 8192  # so much of a line is remembered, to know what the next piece continues
_HEADER = rb"""authorization["']?\s*[:=]\s*["']?(?:(?:bearer|basic|token)\s+)?([^\s"',;]+)"""
_TOKEN = rb"(rgt_[A-Za-z0-9_-]+)"
_ALWAYS = re.compile(rb"(?i:%s)|%s" % (_HEADER, _TOKEN))


class Mask:
    """One log's stream of bytes; `feed` it in order, with nothing left out but what it `skip`s."""

    def __init__(self, secrets: Iterable[str]) -> None:
        values = {value.encode() for value in secrets}
        values |= {line for value in values for line in value.splitlines()}
        self._secrets = sorted((v for v in values if len(v) >= _SHORTEST), key=len, reverse=True)
        self._line = b""  # what came before, as far as the line goes, as it was written
        self._held = b""

    @property
    def held_bytes(self) -> int:
        """So much was fed and not given back, since what follows decides what it is."""
        return len(self._held)

    def skip(self, piece: bytes) -> None:
        """Bytes that are kept already; they tell how the line began."""
        self._remember(piece)

    def feed(self, piece: bytes, *, last: bool = False) -> bytes:
        """What may be kept so far. `last`: nothing follows, give back all."""
        raw = self._held + piece
        cut = len(raw) if last else self._safe_end(raw)
        ready, self._held = raw[:cut], raw[cut:]
        masked = self._masked(self._line + ready)[len(self._line) :]
        self._remember(ready)
        return masked

    def _masked(self, text: bytes) -> bytes:
        out = bytearray(text)
        for secret in self._secrets:
            for found in re.finditer(re.escape(secret), text):
                out[found.start() : found.end()] = b"*" * len(secret)
        for found in _ALWAYS.finditer(text):
            group = 1 if found[1] is not None else 2
            out[found.start(group) : found.end(group)] = b"*" * len(found[group])
        return bytes(out)

    def _safe_end(self, raw: bytes) -> int:
        """Where a cut parts neither a character nor a secret."""
        end = len(raw) - _unfinished(raw)
        for secret in self._secrets:
            for size in range(min(len(secret) - 1, len(raw)), 0, -1):
                if secret.startswith(raw[len(raw) - size :]):
                    end = min(end, len(raw) - size)
                    break
        for secret in self._secrets:  # a whole one that the cut would part waits with the rest
            begin = raw.find(secret, max(0, end - len(secret) + 1))
            if 0 <= begin < end:
                return self._safe_end(raw[:begin])
        return end

    def _remember(self, written: bytes) -> None:
        text = self._line + written
        self._line = text[text.rfind(b"\n") + 1 :][-_LINE_BYTES:]


def _unfinished(raw: bytes) -> int:
    """How many bytes at the end begin a UTF-8 character without ending it."""
    for back in range(1, min(4, len(raw) + 1)):
        byte = raw[-back]
        if byte >= 0xC0:
            needs = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return back if byte < 0xF5 and back < needs else 0
        if byte < 0x80:
            return 0
    return 0
