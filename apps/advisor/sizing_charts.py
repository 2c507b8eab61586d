"""What sizing found as a picture. Pure: options in, a Plotly figure out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from django.utils.translation import gettext as _

from apps.advisor.catalogue_charts import log_axis
from apps.advisor.sizing_texts import ways
from apps.insights.charts import Chart, decimal
from regatta.planning.fleets import Fleet, Load, Serving
from regatta.planning.sizing import Option, Sizing, Training

Way = Option | Fleet


def front(request: Training | Load, sized: Sizing | Serving) -> Chart:
    """Cost against days, or an hour's cost against the time of a request: every option, the front,
    the picks, and the limits."""
    if isinstance(request, Load):
        return _chart(
            sized,
            x=lambda one: one.request_s,
            y=lambda one: one.usd_per_hour,
            limits=(None, request.budget_usd_per_hour),
            title=_("Cost against the time of a request"),
            axes=(_("seconds of a request"), _("USD per hour")),
        )
    return _chart(
        sized,
        x=lambda one: one.days,
        y=lambda one: one.cost_usd,
        limits=(request.deadline_days, request.budget_usd),
        title=_("Cost against time"),
        axes=(_("days to the end"), "USD"),
    )


def _chart(
    sized: Any,
    *,
    x: Callable[[Any], float],
    y: Callable[[Any], float],
    limits: tuple[float | None, float | None],
    title: str,
    axes: tuple[str, str],
) -> Chart:
    front: Sequence[Way] = sized.front
    traces = _clouds(sized.options, set(map(id, front)), x, y)
    traces.append(_front(front, x, y))
    picks = {_("cheapest"): sized.cheapest, _("balanced"): sized.balanced}
    picks[_("fastest")] = sized.fastest
    traces.append(_picks(picks, x, y))
    traces += _limits(sized.options, x, y, limits)
    said = {
        "n": len(front),
        "all": len(sized.options),
        "fast": decimal(x(sized.fastest), 1),
        "dear": decimal(y(sized.fastest), 0),
        "slow": decimal(x(sized.cheapest), 1),
        "cheap": decimal(y(sized.cheapest), 0),
        "x": axes[0],
        "y": axes[1],
    }
    return Chart(
        slug="front",
        title=title,
        summary=_(
            "%(n)d of %(all)d options are beaten by none: from %(fast)s %(x)s at %(dear)s %(y)s "
            "to %(slow)s at %(cheap)s."
        )
        % said,
        figure={
            "data": traces,
            "layout": {
                "xaxis": log_axis(axes[0], [x(one) for one in sized.options]),
                "yaxis": log_axis(axes[1], [y(one) for one in sized.options]),
                "hovermode": "closest",
                "showlegend": True,
            },
        },
        columns=[],
        rows=[],
    )


def _clouds(
    options: Sequence[Way], shown: set[int], x: Callable[[Any], float], y: Callable[[Any], float]
) -> list[dict[str, Any]]:
    """The options that something beats, a trace a chip, faint."""
    by_chip: dict[str, list[Way]] = defaultdict(list)
    for one in options:
        if id(one) not in shown:
            by_chip[one.chip].append(one)
    return [
        {
            **_points(group, x, y),
            "name": chip,
            "mode": "markers",
            "opacity": 0.45,
            "marker": {"size": 6, **_symbols(group)},
        }
        for chip, group in by_chip.items()
    ]


def _front(
    front: Sequence[Way], x: Callable[[Any], float], y: Callable[[Any], float]
) -> dict[str, Any]:
    return {
        **_points(front, x, y),
        "name": _("the front"),
        "mode": "lines+markers",
        "line": {"shape": "hv", "width": 2},
        "marker": {"size": 9, **_symbols(front)},
    }


def _picks(
    picks: dict[str, Way], x: Callable[[Any], float], y: Callable[[Any], float]
) -> dict[str, Any]:
    """Where the picks stand, with their names; one that is several of them has all the names."""
    at: dict[int, list[str]] = defaultdict(list)
    ones = {id(one): one for one in picks.values()}
    for word, one in picks.items():
        at[id(one)].append(word)
    chosen = [ones[key] for key in at]
    return {
        **_points(chosen, x, y),
        "name": _("picks"),
        "mode": "markers+text",
        "texttemplate": ["<br>".join(words) for words in at.values()],
        "textposition": "top center",
        "marker": {"size": 15, "symbol": "circle-open", "line": {"width": 2}},
        "showlegend": False,
    }


def _limits(
    options: Sequence[Way],
    x: Callable[[Any], float],
    y: Callable[[Any], float],
    limits: tuple[float | None, float | None],
) -> list[dict[str, Any]]:
    """Deadline and budget as dashed lines across what is drawn."""
    xs, ys = [x(one) for one in options], [y(one) for one in options]
    lines = []
    if limits[0] is not None:
        lines.append((_("deadline"), [limits[0]] * 2, [min(ys), max(ys)]))
    if limits[1] is not None:
        lines.append((_("budget"), [min(xs), max(xs)], [limits[1]] * 2))
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": across,
            "y": up,
            "line": {"dash": "dash", "width": 1.5},
            "hoverinfo": "name",
        }
        for name, across, up in lines
    ]


def _symbols(group: Sequence[Way]) -> dict[str, list[str]]:
    return {"symbol": ["circle" if one.basis == "rent" else "diamond" for one in group]}


def _points(
    group: Sequence[Way], x: Callable[[Any], float], y: Callable[[Any], float]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": [x(one) for one in group],
        "y": [y(one) for one in group],
        "text": [ways(one) for one in group],
        "hovertemplate": "%{text}<br>%{x:,.3~g}, %{y:$,.3~s}<extra></extra>",
    }
