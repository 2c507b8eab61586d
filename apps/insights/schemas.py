"""Shapes of the API about metrics."""

from __future__ import annotations

from datetime import datetime

from ninja import Schema
from pydantic import Field


class SeriesOut(Schema):
    """One metric of one process. A value that is not finite is null.

    points: pairs of step and value, thinned (LTTB) to `max_points`; `count` says how many there
    are. not_finite: how many of those read were not finite, and left out.
    """

    key: str
    rank: int
    count: int
    step: int
    value: float | None
    at: datetime
    points: list[tuple[int, float]]
    thinned: bool
    not_finite: int


class MetricsOut(Schema):
    """The metrics of one attempt. dropped: points that its processes had to let go."""

    job_id: int
    attempt: int = Field(description="number of the attempt")
    dropped: int
    series: list[SeriesOut]
