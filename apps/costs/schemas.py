"""Shapes of the API about prices and costs; amounts are decimal strings, null is unknown."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from ninja import Schema
from pydantic import AwareDatetime, Field

from apps.costs.models import Basis
from apps.http.schemas import In


class PriceIn(In):
    kind: str = Field(min_length=1, max_length=80)
    usd_per_hour: Decimal = Field(ge=0, max_digits=14, decimal_places=6)
    from_at: AwareDatetime | None = None
    basis: Basis = Basis.LIST
    note: str = Field("", max_length=200)


class PriceOut(Schema):
    id: int
    kind: str
    usd_per_hour: Decimal
    from_at: datetime
    to_at: datetime | None
    basis: str
    note: str
    everywhere: bool


class SummaryOut(Schema):
    at: datetime
    hourly_usd: Decimal | None
    month_from: datetime
    month_usd: Decimal | None
    month_jobs_usd: Decimal | None
    month_idle_usd: Decimal | None
    unpriced: list[str]
    sample: bool


class GapOut(Schema):
    kind: str
    from_at: datetime
    to_at: datetime


class ClusterCostOut(Schema):
    cluster_id: int
    usd: Decimal | None
    known_usd: Decimal
    jobs_usd: Decimal | None
    idle_usd: Decimal | None
    gaps: list[GapOut]
