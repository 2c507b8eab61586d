"""Searches as a picture, and breakdowns as bars. Pure: numbers in, dicts and rows out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from numpy.typing import NDArray

from apps.advisor import plan_texts
from apps.advisor.plan_terms import Term
from apps.http.looks import Words
from apps.insights.charts import Figure, decimal
from regatta.hardware.catalogue import GIB
from regatta.planning.plans import RECOMPUTE, Plan
from regatta.planning.ranking import Ranked
from regatta.planning.search import Cloud, Result
from regatta.planning.space import AXES, DEGREES, SIZES

PICTURE = 20_000  # feasible plans timed for a picture
COLUMNS, ROWS = 56, 28  # of the grid of which each cell shows one plan
BAR = 1000.0  # length of a bar, in the units of its drawing
_CODE = (*DEGREES, *AXES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One part of a bar, from x on, of `width`, both of BAR; share of the whole in per cent."""

    name: str
    word: Words
    kind: int
    value: float
    share: float
    x: float
    width: float


def code(plan: Plan) -> str:
    """A plan's choices as a word for addresses: `8-4-1-2-1-1-8-1-0-1-1-0`."""
    return "-".join(f"{float(getattr(plan, name)):.0f}" for name in _CODE)


def choices(word: str) -> dict[str, float]:
    """The choices that such a word names, each one that can be made. Raises: ValueError."""
    said = dict(zip(_CODE, [float(int(part)) for part in word.split("-")], strict=True))
    if any(said[name] >= many for name, many in SIZES.items()):
        raise ValueError("none of the choices")
    return said


def bar(parts: Mapping[str, float], terms: Mapping[str, Term], *, whole: float) -> list[Piece]:
    """The parts that are not nothing, one after the other, in the order of their terms."""
    pieces, x = [], 0.0
    for name, term in terms.items():
        if (value := parts.get(name, 0.0)) <= 0:
            continue
        width = BAR * value / whole
        pieces.append(
            Piece(
                name=name,
                word=term.word,
                kind=term.kind,
                value=value,
                share=100 * value / whole,
                x=round(x, 2),
                width=round(width, 2),
            )
        )
        x += width
    return pieces


def thinned(times: NDArray[Any], peaks: NDArray[Any]) -> NDArray[np.intp]:
    """Indices of one point in each cell of a grid over the logarithm of time, and memory."""

    def cells(values: NDArray[Any], count: int) -> NDArray[np.intp]:
        low, high = values.min(), values.max()
        cell = (values - low) / max(high - low, 1e-12) * count
        return np.asarray(np.minimum(cell, count - 1), dtype=np.intp)

    cell = cells(np.log(times), COLUMNS) * ROWS + cells(peaks, ROWS)
    kept: NDArray[np.intp] = np.sort(np.unique(cell, return_index=True)[1])
    return kept


def front(times: NDArray[Any], peaks: NDArray[Any]) -> NDArray[np.intp]:
    """Indices of the plans that no other beats in both time and memory, fastest first."""
    order = np.lexsort((peaks, times))
    least = np.minimum.accumulate(peaks[order])
    best: NDArray[np.intp] = order[np.r_[True, least[1:] < least[:-1]]]
    return best


def picture(
    cloud: Cloud, *, ranked: list[Ranked], chosen: Ranked, memory_bytes: float
) -> tuple[Figure, int]:
    """Memory against step time: some of the plans, the front, the ranked and the chosen one.

    Returns: the figure, and how many plans it shows.
    """
    some = thinned(cloud.times, cloud.peaks)
    every_time = np.r_[cloud.times, [item.iteration_s for item in ranked]]
    every_peak = np.r_[cloud.peaks, [item.peak_bytes for item in ranked]]

    def plan_at(at: int) -> Plan:
        return cloud.plan(at) if at < len(cloud.times) else ranked[at - len(cloud.times)].plan

    def points(indices: NDArray[np.intp], name: str, **how: Any) -> dict[str, Any]:
        plans = [plan_at(int(at)) for at in indices]
        return _trace(name, every_time[indices], every_peak[indices], plans, **how)

    def items(found: list[Ranked], name: str, **how: Any) -> dict[str, Any]:
        times = np.array([item.iteration_s for item in found])
        peaks = np.array([item.peak_bytes for item in found])
        return _trace(name, times, peaks, [item.plan for item in found], **how)

    traces = [
        points(some, _("plans that fit"), mode="markers", marker={"size": 4, "opacity": 0.45}),
        points(
            front(every_time, every_peak),
            _("none better in both"),
            mode="lines+markers",
            marker={"size": 6},
        ),
        items(ranked, _("fastest"), mode="markers", marker={"size": 7, "symbol": "diamond"}),
        items(
            [chosen],
            _("chosen"),
            mode="markers",
            marker={"size": 16, "symbol": "circle-open", "line": {"width": 3}},
        ),
    ]
    span = [float(every_time.min()) * 0.9, float(every_time.max()) * 1.1]
    ticks = _ticks(*span)
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": _("memory of a chip"),
            "x": span,
            "y": [round(memory_bytes / GIB, 1)] * 2,
            "line": {"dash": "dot", "width": 1.5},
            "hoverinfo": "skip",
        }
    )
    layout = {
        "xaxis": {
            "type": "log",
            "title": {"text": _("seconds per step")},
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
        },
        "yaxis": {"title": {"text": _("GiB at the peak")}, "rangemode": "tozero"},
        "hovermode": "closest",
        "showlegend": True,
    }
    return {"data": traces, "layout": layout}, len(some)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten between the two, the ends of an axis of logarithms."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    every = [float(f"{first}e{power}") for power in powers for first in (1, 2, 5)]
    return [tick for tick in every if low <= tick <= high]


def summary(cloud: Cloud, *, shown: int, result: Result) -> str:
    """What the picture shows, of how many, and of how many the step was timed for it."""
    said = {
        "shown": decimal(shown, 0),
        "timed": decimal(len(cloud.times), 0),
        "feasible": decimal(result.feasible, 0),
        "evaluated": decimal(result.evaluated, 0),
    }
    told = (
        ngettext(
            "%(shown)s plan shown of %(feasible)s that fit, of %(evaluated)s that are valid.",
            "%(shown)s plans shown of %(feasible)s that fit, of %(evaluated)s that are valid.",
            shown,
        )
        % said
    )
    if len(cloud.times) == result.feasible:
        return told
    return told + " " + _("For it %(timed)s were timed, evenly chosen, and the fastest.") % said


def _trace(
    name: str, times: NDArray[Any], peaks: NDArray[Any], plans: list[Plan], **how: Any
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name,
        "x": [float(f"{value:.4g}") for value in times],
        "y": [round(float(value) / GIB, 2) for value in peaks],
        "text": [  # the word of the engine: to translate it a thousand times takes too long
            f"{plan_texts.degrees(plan)} · recompute {RECOMPUTE[int(float(plan.recompute))]}"
            for plan in plans
        ],
        "customdata": [code(plan) for plan in plans],
        "hovertemplate": "%{text}<br>%{x:.4~g} s · %{y:.1f} GiB",
        **how,
    }
