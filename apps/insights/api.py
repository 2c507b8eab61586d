"""Endpoints about metrics."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any

from django.shortcuts import get_object_or_404
from ninja import Query, Router

from apps.accounts.access import allow
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.http.problems import PROBLEMS
from apps.insights import selectors
from apps.insights.schemas import MetricsOut
from apps.insights.selectors import Series
from apps.jobs import selectors as jobs

router = Router(tags=["metrics"])


@router.get(
    "/jobs/{int:pk}/metrics",
    auth=allow(Scope.JOBS_READ),
    response={200: MetricsOut, **PROBLEMS},
)
def job_metrics(
    request: PortalRequest,
    pk: int,
    names: Annotated[str, Query(alias="keys", max_length=2000)] = "",
    attempt: Annotated[int | None, Query(ge=1, le=10_000)] = None,
    latest: bool = False,
    after_step: Annotated[int, Query(ge=-1, lt=2**63)] = -1,
    max_points: Annotated[int, Query(ge=3, le=5000)] = 500,
) -> dict[str, Any]:
    """What a job reported, by step.

    keys: names, separated by commas; all without it. attempt: its number; the latest without it.
    latest: the last value of each series and no line. after_step: only what came after it.
    """
    tries = jobs.attempts(get_object_or_404(jobs.jobs(request.team), pk=pk))
    row = get_object_or_404(tries, number=attempt) if attempt else tries[:1].get()
    wanted = {word for raw in names.split(",") if (word := raw.strip())}
    found = [
        selectors.series(head, after_step=after_step, most=max_points, latest_only=latest)
        for head in selectors.heads(row.pk, keys=wanted)
    ]
    return {
        "job_id": pk,
        "attempt": row.number,
        "dropped": selectors.dropped(row.pk),
        "series": [_series(one) for one in found],
    }


def _series(one: Series) -> dict[str, Any]:
    about = {name: getattr(one, name) for name in ("key", "rank", "step", "at")}
    return about | {
        "count": one.points,
        "value": one.value if isfinite(one.value) else None,
        "points": [(int(step), value) for step, value in one.line],
        "thinned": bool(one.line) and one.is_thinned,
        "not_finite": one.unfit,
    }
