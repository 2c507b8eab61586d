"""Series as Plotly figures, and in words. Pure: rows in, dicts and sentences out.

Colours and fonts come from the page's own tokens, so a figure here holds data and titles only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.insights.selectors import Series, Use

Figure = dict[str, Any]
_GIB = 1 << 30
_TABLE_ROWS = 100
_MAIN = ("loss", "tokens_per_s", "step_s")  # in this order, before all others
_WITH = {"val_loss": "loss", "validation_loss": "loss"}  # drawn into the other's chart
_HIDDEN = {"total_steps"}
NONE = "\u2013"  # an en dash
_SENTENCES = 4  # of more series than that, a sum in words helps nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure with its title, its sum in words, and the same as a table.

    slug: for ids in the page. notes: what the reader must know to trust it.
    """

    slug: str
    title: str
    summary: str
    figure: Figure
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def job_charts(series: Iterable[Series]) -> list[Chart]:
    """One chart a metric, the best known first; validation loss goes with the loss."""
    groups: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        if one.key not in _HIDDEN:
            groups[_WITH.get(one.key, one.key)].append(one)
    order = {key: place for place, key in enumerate(_MAIN)}
    names = sorted(groups, key=lambda name: (order.get(name, len(order)), name))
    return [_metric(name, groups[name]) for name in names]


def use_charts(uses: Sequence[Use]) -> list[Chart]:
    """CPUs, memory and, where there are any, chips: used and given away of what there is."""
    charts = [_cpus(uses), _memory(uses)]
    return [*charts, _chips(uses)] if any(use.chips for use in uses) else charts


def _metric(name: str, group: Sequence[Series]) -> Chart:
    several_ranks = len({one.rank for one in group}) > 1
    traces = [
        _line(
            [step for step, _value in one.line],
            [value for _step, value in one.line],
            _("%(metric)s, rank %(rank)d") % {"metric": title_of(one.key), "rank": one.rank}
            if several_ranks
            else title_of(one.key),
        )
        for one in group
    ]
    figure = _figure(traces, x=_("step"), y=unit_of(name), legend=len(traces) > 1)
    columns, rows = _table(group)
    return Chart(
        slug=f"metric-{''.join(sign if sign.isalnum() else '-' for sign in name)}",
        title=title_of(name),
        summary=" ".join(_sentence(one, name, several_ranks) for one in group[:_SENTENCES]),
        figure=figure,
        columns=columns,
        rows=rows,
        notes=[note for one in group if (note := _warning(one))],
    )


def title_of(key: str) -> str:
    """A metric as people call it; a name that nobody knows stays as the job wrote it."""
    return {
        "loss": _("Loss"),
        "val_loss": _("Validation loss"),
        "validation_loss": _("Validation loss"),
        "tokens_per_s": _("Tokens per second"),
        "step_s": _("Step time"),
        "learning_rate": _("Learning rate"),
    }.get(key, key)


def unit_of(key: str) -> str:
    return {
        "loss": _("nats per token"),
        "tokens_per_s": _("tokens/s"),
        "step_s": _("seconds"),
    }.get(key, "")


def number(value: float) -> str:
    """Four significant digits, as people read them."""
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e7):
        return f"{value:.3g}"
    places = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 4
    return decimal(value, places)


def decimal(value: float, places: int) -> str:
    """In the reader's language; Django's own function cuts what it should round."""
    grouped = abs(value) >= 1000
    return str(number_format(round(value, places), decimal_pos=places, force_grouping=grouped))


def _sentence(one: Series, chart: str, several_ranks: bool) -> str:
    said = {"first": number(one.first_value), "last": number(one.value), "step": one.step}
    said |= {"rank": one.rank, "metric": title_of(one.key)}
    if several_ranks:
        return _("Rank %(rank)d: %(last)s at step %(step)d.") % said
    if one.key != chart:
        return _("%(metric)s: %(last)s at step %(step)d.") % said
    if one.points == 1:
        return _("%(last)s at step %(step)d.") % said
    return _("From %(first)s to %(last)s at step %(step)d.") % said


def _warning(one: Series) -> str:
    if not one.unfit:
        gone = one.points and not one.line
        return (
            _("The values between were kept for half a year, and are forgotten.") if gone else ""
        )
    said = {"count": one.unfit, "step": one.unfit_step, "metric": title_of(one.key)}
    return (
        ngettext(
            "%(metric)s: %(count)d value is not a finite number, at step %(step)d.",
            "%(metric)s: %(count)d values are not finite numbers, the first at step %(step)d.",
            one.unfit,
        )
        % said
    )


def _table(group: Sequence[Series]) -> tuple[list[str], list[list[str]]]:
    """Some of the steps, with what each series had there."""
    by_step: dict[int, dict[int, float]] = defaultdict(dict)
    for place, one in enumerate(group):
        for step, value in one.line:
            by_step[int(step)][place] = value
    steps = sorted(by_step)
    every = -(-len(steps) // _TABLE_ROWS) or 1
    some = sorted({*steps[::every], *steps[-1:]})
    names = [
        _("%(metric)s, rank %(rank)d") % {"metric": title_of(one.key), "rank": one.rank}
        for one in group
    ]
    return [_("Step"), *names], [
        [
            str(step),
            *(number(at[i]) if i in (at := by_step[step]) else NONE for i in range(len(group))),
        ]
        for step in some
    ]


def _cpus(uses: Sequence[Use]) -> Chart:
    return _use_chart(
        "cpus",
        _("CPUs"),
        _("CPUs"),
        uses,
        [
            (_("used"), [use.cpus_used for use in uses]),
            (_("given to work"), [use.cpus_allocated for use in uses]),
            (_("offered"), [use.cpus for use in uses]),
        ],
    )


def _memory(uses: Sequence[Use]) -> Chart:
    return _use_chart(
        "memory",
        _("Memory"),
        _("GiB"),
        uses,
        [
            (_("used"), [use.memory_used_bytes / _GIB for use in uses]),
            (_("offered"), [use.memory_bytes / _GIB for use in uses]),
        ],
    )


def _chips(uses: Sequence[Use]) -> Chart:
    return _use_chart(
        "chips",
        _("Accelerators, simulated"),
        _("chips"),
        uses,
        [
            (_("given to work"), [use.chips_allocated for use in uses]),
            (_("offered"), [use.chips for use in uses]),
        ],
    )


def _use_chart(
    slug: str, title: str, unit: str, uses: Sequence[Use], lines: list[tuple[str, list[float]]]
) -> Chart:
    at = [use.at.isoformat() for use in uses]
    traces = [_line(at, values, name) for name, values in lines]
    traces[-1]["line"] = {"dash": "dot", "width": 1.5}  # what there is, behind what is used
    figure = _figure(traces, x="", y=unit, legend=True)
    figure["layout"]["yaxis"]["rangemode"] = "tozero"
    (_first, used), (_last, offered) = lines[0], lines[-1]
    said = {
        "now": decimal(used[-1], 1),
        "of": decimal(offered[-1], 1),
        "most": decimal(max(used), 1),
        "unit": unit,
    }
    said |= {"what": lines[0][0]}
    every = -(-len(uses) // _TABLE_ROWS) or 1
    return Chart(
        slug=f"use-{slug}",
        title=title,
        summary=_("Now %(now)s of %(of)s %(unit)s %(what)s; at most %(most)s.") % said,
        figure=figure,
        columns=[_("Time (UTC)"), *(name for name, _values in lines)],
        rows=[
            [f"{use.at:%H:%M:%S}", *(decimal(values[place], 2) for _name, values in lines)]
            for place, use in list(enumerate(uses))[::every]
        ],
    )


def _line(x: Sequence[Any], y: Sequence[float], name: str) -> dict[str, Any]:
    mode = "lines" if len(x) > 1 else "markers"
    return {"type": "scatter", "mode": mode, "name": name, "x": list(x), "y": list(y)}


def _figure(traces: list[dict[str, Any]], *, x: str, y: str, legend: bool) -> Figure:
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    return {"data": traces, "layout": {**axes, "showlegend": legend}}
