"""A plan for unlike chips as pictures. Pure: the engine's answer in, figures and rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from apps.advisor import plan_texts
from apps.insights.charts import Chart, decimal, number

BAR = 1000.0  # length of a row of stages, in the units of its drawing
_LEAST = 0.00005  # of the whole, below which a loss is nothing on screen


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One stage: from x on, of `width`, both of BAR; wide as its layers are many."""

    layers: int
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Neighbouring stages on one kind of chip. kind: 1 to 4, its colour; fields: its plan."""

    chip: str
    kind: int
    chips: int
    words: str
    pieces: list[Piece]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of the cluster with its share of the batch, 0..1."""

    lanes: list[Lane]
    sequences: int
    share: float
    pipelines: int
    micro_batches: str
    iteration_s: float
    simulated_s: float
    tail: int


def blocks(answer: Mapping[str, Any], *, global_batch: int) -> list[Block]:
    """The blocks with their stages as drawings."""
    kinds = {chip: n for n, chip in enumerate(answer["alone_sequences_per_s"], start=1)}
    return [_block(one, kinds, global_batch) for one in answer["blocks"]]


def losses(answer: Mapping[str, Any]) -> Chart | None:
    """From all chips apart down to the efficiency of all together; None where it is unknown."""
    efficiency = answer["efficiency"]
    if efficiency is None:
        return None
    words = loss_words()
    parts = [(words[name], lost) for name, lost in answer["losses"].items() if abs(lost) > _LEAST]
    names = [_("each kind alone"), *(word for word, _lost in parts), "η"]
    bases, heights, level = [0.0], [100.0], 100.0
    for _word, lost in parts:
        level -= 100 * lost
        bases.append(min(level, level + 100 * lost))
        heights.append(100 * abs(lost))
    bases.append(0.0)
    heights.append(100 * efficiency)
    signs = ["total", *("loss" if lost > 0 else "gain" for _word, lost in parts), "total"]
    told = ["100 %", *(f"{-100 * lost:+.2f}" for _word, lost in parts)]
    told.append(f"{decimal(100 * efficiency, 2)} %")
    bottom = min(bases[1:-1], default=100.0)
    traces = []
    for wanted, word in (("total", _("efficiency")), ("loss", _("lost")), ("gain", _("gained"))):
        of = [i for i, sign in enumerate(signs) if sign == wanted]
        traces.append(_bars(of, names, bases, heights, told, word))
    return Chart(
        slug="losses",
        title=_("Where the rest goes"),
        summary=_("η is %(eta)s %%; what is missing to 100 %% sums up from these parts.")
        % {"eta": decimal(100 * efficiency, 2)},
        figure={
            "data": [trace for trace in traces if trace["x"]],
            "layout": {
                "barmode": "overlay",
                "hovermode": "closest",
                "showlegend": True,
                "yaxis": _rows(names),
                "xaxis": {
                    "title": {"text": _("%, not from 0")},
                    "range": [max(0.0, min(bottom, 100 * efficiency) - 3), max(100.0, level) + 2],
                },
            },
        },
        columns=[_("Part"), _("Share of the step, %")],
        rows=[[word, decimal(-100 * lost, 3)] for word, lost in parts]
        + [["η", decimal(100 * efficiency, 3)]],
    )


def loss_words() -> dict[str, str]:
    """What each of the engine's losses is."""
    return {
        "waiting": _("waiting for the slowest"),
        "fewer_micro_batches": _("fewer micro-batches"),
        "unlike_stages": _("unlike stages"),
        "exchange": _("exchange of gradients"),
    }


def timelines(answer: Mapping[str, Any]) -> list[Chart]:
    """How the simulator played each block's busiest pipeline, of those that have stages."""
    return [
        _timeline(n, block, schedule)
        for n, (block, schedule) in enumerate(
            zip(answer["blocks"], answer["schedules"], strict=True), start=1
        )
        if len(schedule["stages"]) > 1
    ]


def _timeline(n: int, block: Mapping[str, Any], schedule: Mapping[str, Any]) -> Chart:
    chips = [stages["chip"] for stages in block["stages"] for _layers in stages["layers"]]
    names = [f"{at} · {chip}" for at, chip in enumerate(chips, start=1)]
    words = {"forward": _("forward"), "backward": _("backward"), "reduce": _("gradients")}
    traces = []
    for kind, word in words.items():
        done = [
            (name, one, one["end_s"] - one["start_s"])
            for name, stage in zip(names, schedule["stages"], strict=True)
            for one in stage
            if one["kind"] == kind and one["end_s"] > one["start_s"]
        ]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": word,
                "y": [name for name, _one, _s in done],
                "x": [took_s for _name, _one, took_s in done],
                "base": [one["start_s"] for _name, one, _s in done],
                "text": [_number(one) for _name, one, _s in done],
                "textposition": "none",
                "hovertemplate": f"{word} %{{text}}<br>%{{base:.3f}} s<extra></extra>",
            }
        )
    said = {"stages": len(names), "s": number(schedule["seconds"]), "out": schedule["left_out"]}
    told = _("%(stages)d stages in %(s)s s.") % said
    if schedule["left_out"]:
        told += " " + _("%(out)d operations in the middle are not drawn.") % said
    return Chart(
        slug=f"timeline-{n}",
        title=_("The schedule as it was played, block %(n)d") % {"n": n},
        summary=told,
        figure={
            "data": [trace for trace in traces if trace["x"]],
            "layout": {
                "barmode": "overlay",
                "bargap": 0.15,
                "hovermode": "closest",
                "showlegend": True,
                "yaxis": _rows(names),
                "xaxis": {"title": {"text": _("seconds")}, "range": [0, schedule["seconds"]]},
            },
        },
        columns=[],
        rows=[],
    )


def _number(operation: Mapping[str, Any]) -> str:
    batch = operation["micro_batch"]
    return "" if batch is None else str(batch + 1)


def _rows(names: Sequence[str]) -> dict[str, Any]:
    """An axis with the first name at the top."""
    return {"type": "category", "categoryorder": "array", "categoryarray": names[::-1]}


def _bars(
    indices: Sequence[int],
    names: Sequence[str],
    bases: Sequence[float],
    heights: Sequence[float],
    told: Sequence[str],
    word: str,
) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": word,
        "y": [names[i] for i in indices],
        "x": [heights[i] for i in indices],
        "base": [bases[i] for i in indices],
        "text": [told[i] for i in indices],
        "textposition": "outside",
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }


def _block(block: Mapping[str, Any], kinds: Mapping[str, int], global_batch: int) -> Block:
    layers = sum(sum(stages["layers"]) for stages in block["stages"])
    lanes, x = [], 0.0
    for stages in block["stages"]:
        pieces = []
        for count in stages["layers"]:
            width = BAR * count / layers
            pieces.append(Piece(layers=count, x=round(x, 2), width=round(width, 2)))
            x += width
        lanes.append(
            Lane(
                chip=stages["chip"],
                kind=kinds[stages["chip"]],
                chips=stages["chips"],
                words=plan_texts.named(stages),
                pieces=pieces,
            )
        )
    counts = sorted(set(block["micro_batches"]))
    return Block(
        lanes=lanes,
        sequences=block["sequences"],
        share=block["sequences"] / global_batch,
        pipelines=len(block["micro_batches"]),
        micro_batches=" / ".join(str(count) for count in counts),
        iteration_s=block["iteration_s"],
        simulated_s=block["simulated_s"],
        tail=block["tail"]["sequences"],
    )
