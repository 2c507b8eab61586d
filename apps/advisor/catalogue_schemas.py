"""Shapes of the API about chips; figures are in the units their names end with."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from ninja import Schema
from pydantic import AwareDatetime, Field

from apps.advisor.catalogue_forms import NAME
from apps.advisor.catalogue_services import MOST_VALUE
from apps.advisor.models import CHIP_NAME_CHARS, SOURCE_CHARS
from apps.http.schemas import In

Quality = Literal["measured", "published", "approximate", "unverified", "assumed"]


class GivenIn(In):
    figure: str = Field(max_length=40)
    value: float = Field(gt=0, le=MOST_VALUE)
    quality: Quality
    source: str = Field(min_length=1, max_length=SOURCE_CHARS)


class FigureIn(GivenIn):
    from_at: AwareDatetime | None = None


class ChipIn(In):
    name: str = Field(min_length=1, max_length=CHIP_NAME_CHARS, pattern=f"^{NAME}$")
    vendor: str = Field(min_length=1, max_length=80)
    form_factor: str = Field("", max_length=80)
    note: str = Field("", max_length=SOURCE_CHARS)
    figures: list[GivenIn] = Field(min_length=1, max_length=40)


class FigureOut(Schema):
    value: float
    year: int
    quality: str
    source: str
    own: bool


class ChipOut(Schema):
    """own: the team added it. figures: by name; `own` of one: the team has set it."""

    name: str
    vendor: str
    form_factor: str
    aliases: list[str]
    note: str
    own: bool
    figures: dict[str, FigureOut]


class OwnFigureOut(Schema):
    figure: str
    value: float
    quality: str
    source: str
    from_at: datetime
    to_at: datetime | None


class ChipDetailOut(ChipOut):
    """history: every figure that the team has set of it, the newest first."""

    history: list[OwnFigureOut]
