"""Chips that a team has added."""

from __future__ import annotations

from itertools import count

from apps.advisor import catalogue_services
from apps.advisor.catalogue_services import Given
from apps.advisor.models import TeamChip
from regatta.hardware.catalogue import REQUIRED

_numbers = count(1)


def a_chip(team, name: str = "", **figures: float) -> TeamChip:
    """One with every figure that a chip needs, 8 of each, and its power."""
    values = {**dict.fromkeys(REQUIRED, 8.0), "tdp_w": 500.0, **figures}
    return catalogue_services.add_chip(
        team=team,
        name=name or f"Own-{next(_numbers)}",
        vendor="Us",
        figures=[given(figure, value) for figure, value in values.items()],
        actor="user:t",
    )


def given(
    figure: str = "price_usd_per_hour", value: float = 2.0, quality: str = "published"
) -> Given:
    """A figure as somebody gives it."""
    return Given(figure=figure, value=value, quality=quality, source="contract 7")
