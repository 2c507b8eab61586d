"""Files that the planner's commands are given: read whole, up to what is sensible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regatta.planning.shapes import BadField

MOST_BYTES = 64 * 2**20  # a table of a million runs; /dev/zero has more


def read_text(path: Path) -> str:
    """The text of a file. Raises: BadField naming the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise BadField(str(path), f"is too large; at most {MOST_BYTES // 2**20} MiB is right")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise BadField(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadField(str(path), f"is no UTF-8 text, at byte {error.start}") from None


def read_object(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file. Raises: BadField naming the file."""
    text = read_text(path)
    try:
        found = json.loads(text)
    except RecursionError:
        raise BadField(str(path), "is nested too deeply; a flat JSON object is right") from None
    except ValueError as error:
        raise BadField(str(path), f"is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadField(str(path), "a JSON object is right")
    return found
