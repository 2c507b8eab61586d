"""Chips that a team has added."""

from __future__ import annotations

from itertools import count

from django.db.models.functions import Now
from django.test import Client
from people import owner_of

from apps.advisor import catalogue_services, search_services
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


SIZED = (
    "plan/size/?what=training&model=gpt2&goal=tokens&tokens_b=1&seq_len=1024&global_batch=64"
    "&dtype=bf16&chips=H100-80GB&chips=A100-80GB&max_chips=16"
)
MIXED = (
    "plan/mixed/?model=gpt2&seq_len=1024&global_batch=64&dtype=bf16"
    "&chip1=A100-80GB&count1=8&chip2=H100-80GB&count2=8"
)


def search_all() -> None:
    """What a worker does, until nothing waits."""
    while search_services.search_next(now=Now() + search_services.PATIENCE):
        pass


def searched(team) -> None:
    """The answers of SIZED and MIXED are there."""
    client = Client()
    client.force_login(owner_of(team))
    for path in (SIZED, MIXED):
        client.get(f"/t/{team.slug}/{path}")
    search_all()
