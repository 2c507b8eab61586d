"""How a state looks on a page: by word, tone, icon and motion, never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise

Words = str | Promise


@dataclass(frozen=True, slots=True)
class Look:
    """tone: live, good, warn, bad, doubt or still. icon: of lucide. moving: work goes on."""

    word: Words
    tone: str
    icon: str
    moving: bool = False
