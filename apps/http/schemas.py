"""Shapes that endpoints of several apps share."""

from __future__ import annotations

from datetime import datetime

from ninja import Schema
from pydantic import ConfigDict

MOST_ID = (1 << 63) - 1  # of a row: asked for a larger one, the database errs


class In(Schema):
    """What a client sends; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class StateOut(Schema):
    """The state block of every row with a life. reason: a code; message: the same in words.

    unknown_since: since when its cluster cannot be asked; null while it can.
    """

    state: str
    reason: str
    message: str
    since: datetime
    generation: int
    unknown_since: datetime | None = None
