"""States, legal moves and the next step of each kind of thing. Pure."""

from __future__ import annotations
