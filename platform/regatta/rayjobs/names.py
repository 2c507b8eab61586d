"""What a name may be made of: characters that are seen, in the order in which they stand."""

from __future__ import annotations

import unicodedata

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # called letters or symbols, drawn as nothing


def plain(text: str) -> str:
    """`text` without control characters, those that turn the direction of reading among them."""
    return "".join(char for char in text if not _controls(char))


def is_readable(name: str) -> bool:
    """Whether a name has something to see, and nothing in it that makes it look like another."""
    return any(map(_is_seen, name)) and not any(map(_controls, name))


def _controls(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs") or char in _BIDI


def _is_seen(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNPS" and char not in _BLANK
