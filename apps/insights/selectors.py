"""What pages and the API show of metrics and of use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

from django.db import connection
from django.db.models import F, Max, QuerySet, Sum
from django.db.models.functions import Now

from apps.clusters import selectors as clusters
from apps.insights.models import MetricKey, MetricPoint, NodeSample, SeriesHead, TelemetryStream
from apps.lifecycle.models import Moment
from regatta.telemetry.series import XY, thin

FRESH = timedelta(seconds=30)  # an older look says nothing about now
_READ_AT_ONCE = 20_000  # points of one series; of a longer one, its extremes


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric of one process: finite values by step, thinned to what can be drawn.

    points: how many there are. unfit: how many of those read were not finite, the first at
    `unfit_step`.
    """

    key: str
    rank: int
    points: int
    first_value: float
    step: int
    value: float
    at: datetime
    line: Sequence[XY] = ()
    unfit: int = 0
    unfit_step: int | None = None

    @property
    def is_thinned(self) -> bool:
        return len(self.line) + self.unfit < self.points


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How far back a chart looks, and how long each of its points is."""

    name: str
    back: timedelta
    step_s: int


WINDOWS = {
    "15m": Window(name="15m", back=timedelta(minutes=15), step_s=10),
    "1h": Window(name="1h", back=timedelta(hours=1), step_s=60),
    "24h": Window(name="24h", back=timedelta(hours=24), step_s=600),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What was used and given away of what there was, over some nodes at one time."""

    at: datetime
    cpus: float
    cpus_used: float
    cpus_allocated: float
    memory_bytes: float
    memory_used_bytes: float
    chips: float
    chips_allocated: float


def heads(attempt_id: int, *, keys: Collection[str] = ()) -> QuerySet[SeriesHead]:
    """The series of an attempt, by name and rank."""
    rows = SeriesHead.objects.filter(attempt_id=attempt_id).select_related("key")
    rows = rows.filter(key__name__in=keys) if keys else rows
    return rows.order_by("key__name", "rank")


def series(
    head: SeriesHead, *, after_step: int = -1, most: int = 500, latest_only: bool = False
) -> Series:
    """A series with its line, of at most `most` points."""
    about = {name: getattr(head, name) for name in ("rank", "points", "first_value")}
    about |= {"step": head.step, "value": head.value, "at": head.at}
    if latest_only:
        return Series(key=head.key.name, **about)
    rows = _points(head, after_step)
    line = [(float(step), value) for step, value in rows if isfinite(value)]
    unfit = [step for step, value in rows if not isfinite(value)]
    return Series(
        key=head.key.name,
        line=thin(line, most=most),
        unfit=len(unfit),
        unfit_step=unfit[0] if unfit else None,
        **about,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """The middle value of a metric over `steps` steps of all ranks."""

    value: float
    steps: int


def medians(attempt_ids: Iterable[int], key: str, *, warm_up: int) -> dict[int, Median]:
    """Of what attempts reported after their first steps, by attempt; without those that reported
    too little.

    warm_up: steps to leave out at the start, yet never more than a fifth of them all.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH told AS (
                SELECT attempt_id, step, value,
                       dense_rank() OVER (PARTITION BY attempt_id ORDER BY step) AS place
                  FROM insights_metricpoint JOIN insights_metrickey ON id = key_id
                 WHERE attempt_id = ANY(%(attempt_ids)s) AND name = %(key)s
                   AND value > 0 AND value < 'Infinity'),
            counted AS (
                SELECT *, max(place) OVER (PARTITION BY attempt_id) AS places FROM told)
            SELECT attempt_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY value),
                   count(DISTINCT step)
              FROM counted WHERE place > least(%(warm_up)s, places / 5)
             GROUP BY attempt_id
            """,
            {"attempt_ids": list(attempt_ids), "key": key, "warm_up": warm_up},
        )
        return {pk: Median(value=value, steps=steps) for pk, value, steps in cursor.fetchall()}


def greatest(attempt_ids: Iterable[int], keys: Iterable[str]) -> dict[tuple[int, str], float]:
    """The greatest value of metrics over all ranks and steps, by attempt and metric."""
    names = dict(MetricKey.objects.filter(name__in=list(keys)).values_list("pk", "name"))
    rows = MetricPoint.objects.filter(
        attempt_id__in=list(attempt_ids), key_id__in=names, value__gt=0, value__lt=float("inf")
    )
    told = rows.values_list("attempt_id", "key_id").annotate(most=Max("value"))
    return {(pk, names[key]): most for pk, key, most in told}


def steps_told(attempt_ids: Iterable[int]) -> dict[int, int]:
    """From the first step of its longest series to the last, by attempt."""
    rows = SeriesHead.objects.filter(attempt_id__in=list(attempt_ids))
    span = Max(F("step") - F("first_step") + 1)
    return dict(rows.values_list("attempt_id").annotate(most=span))


def dropped(attempt_id: int) -> int:
    """Points that the attempt's processes had to let go, by their own word."""
    rows = TelemetryStream.objects.filter(attempt_id=attempt_id)
    return rows.aggregate(all=Sum("dropped"))["all"] or 0


def latest_samples(cluster_id: int, *, now: Moment | None = None) -> dict[int, NodeSample]:
    """The last look at each node of a cluster, if it was just now."""
    fresh = NodeSample.objects.filter(cluster_id=cluster_id, at__gt=(now or Now()) - FRESH)
    return {one.node_id: one for one in fresh.order_by("node_id", "-at").distinct("node_id")}


def use_now(team_id: int) -> Use | None:
    """What a team's live clusters use and have given away; None if none was seen just now.

    Of the nodes that offer CPUs: a head without any serves its cluster, not its jobs.
    """
    samples = [
        one
        for cluster in clusters.live_clusters()
        if cluster.team_id == team_id
        for one in latest_samples(cluster.pk).values()
        if one.cpus
    ]
    if not samples:
        return None
    names = [name for name in Use.__dataclass_fields__ if name != "at"]
    sums = {name: float(sum(getattr(one, name) for one in samples)) for name in names}
    return Use(at=min(one.at for one in samples), **sums)


def use_over_time(cluster_id: int, window: Window) -> list[Use]:
    """What a cluster's nodes used together, step by step; where nobody looked, there is none.

    Of each node that offers CPUs the mean over the step, then the sum over the nodes.
    """
    table, at = ("nodesample", "at") if window.name == "15m" else ("nodeminute", "minute")
    names = [name for name in Use.__dataclass_fields__ if name != "at"]
    means = ", ".join(f"avg({name}) AS {name}" for name in names)
    sums = ", ".join(f"sum({name})" for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT bin, {sums} FROM (
                SELECT date_bin(make_interval(secs => %s), {at}, 'epoch') AS bin, node_id, {means}
                  FROM insights_{table}
                 WHERE cluster_id = %s AND cpus > 0 AND {at} > now() - make_interval(secs => %s)
                 GROUP BY 1, 2) AS by_node
             GROUP BY bin ORDER BY bin
            """,
            [window.step_s, cluster_id, window.back.total_seconds()],
        )
        return [
            Use(at=bin_at, **dict(zip(names, map(float, values), strict=True)))
            for bin_at, *values in cursor.fetchall()
        ]


def _points(head: SeriesHead, after_step: int) -> list[tuple[int, float]]:
    """By rising step; of a step told more than once, the latest."""
    one = {"attempt_id": head.attempt_id, "key_id": head.key_id, "rank": head.rank}
    if head.points > _READ_AT_ONCE:
        return _extremes(one, after_step)
    rows = MetricPoint.objects.filter(**one, step__gt=after_step).order_by("step", "at", "place")
    return list(dict(rows.values_list("step", "value")).items())


def _extremes(one: Mapping[str, Any], after_step: int) -> list[tuple[int, float]]:
    """Of each of many spans of steps, the least and the greatest value where they were told."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH spanned AS (
                SELECT step, value, width_bucket(step, min(step) OVER (), max(step) OVER () + 1,
                                                 %(spans)s) AS span
                  FROM insights_metricpoint
                 WHERE attempt_id = %(attempt_id)s AND key_id = %(key_id)s AND rank = %(rank)s
                   AND step > %(after)s)
            (SELECT DISTINCT ON (span) step, value FROM spanned ORDER BY span, value)
            UNION
            (SELECT DISTINCT ON (span) step, value FROM spanned ORDER BY span, value DESC)
            ORDER BY 1
            """,
            {**one, "after": after_step, "spans": _READ_AT_ONCE // 2},
        )
        return list(dict(cursor.fetchall()).items())
