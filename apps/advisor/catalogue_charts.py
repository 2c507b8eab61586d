"""Chips as a picture. Pure: chips in, a Plotly figure out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import floor, log10
from typing import Any

from django.utils.translation import gettext as _

from apps.insights.charts import Chart, decimal
from regatta.hardware.catalogue import GIB, Chip

_SHOWN_VENDORS = 5  # with a colour of their own; the others share one
_LARGEST_PX = 26.0
_FEW = 10.0  # the ratio of the ends of an axis below which its ticks are closer


def landscape(chips: Sequence[Chip]) -> Chart | None:
    """Peak against bandwidth, as large as the memory, coloured by vendor; None of no chip.

    Where bf16 is missing the fp16 peak stands for it, as the planner computes.
    """
    drawn = [chip for chip in chips if _peak_tflops(chip)]
    if not drawn:
        return None
    by_vendor: dict[str, list[Chip]] = defaultdict(list)
    for chip in drawn:
        by_vendor[chip.vendor].append(chip)
    order = sorted(by_vendor, key=lambda vendor: (-len(by_vendor[vendor]), vendor))
    groups = [(vendor, by_vendor[vendor]) for vendor in order[:_SHOWN_VENDORS]]
    if rest := [chip for vendor in order[_SHOWN_VENDORS:] for chip in by_vendor[vendor]]:
        groups.append((_("others"), rest))
    most = max(chip.memory_bytes for chip in drawn)
    fastest = max(drawn, key=_peak_tflops)
    widest = max(drawn, key=lambda chip: chip.memory_Bps)
    return Chart(
        slug="chips",
        title=_("Peak against memory bandwidth"),
        summary=_("Larger is more memory. Most FLOP/s: %(fastest)s; most bandwidth: %(widest)s.")
        % {"fastest": fastest.name, "widest": widest.name},
        figure={
            "data": [_trace(name, group, most) for name, group in groups],
            "layout": {
                "xaxis": log_axis("GB/s", [chip.memory_Bps / 1e9 for chip in drawn]),
                "yaxis": log_axis("TFLOP/s, bf16", [_peak_tflops(chip) for chip in drawn]),
                "hovermode": "closest",
                "showlegend": True,
            },
        },
        columns=[],
        rows=[],
    )


def log_axis(title: str, values: Sequence[float]) -> dict[str, Any]:
    """An axis of powers, with ticks that people read: 1, 2, 5, 10; closer ones over less than a
    power of ten."""
    wide = max(values) / min(values) > _FEW
    digits = (1, 2, 5) if wide else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    low, high = (floor(log10(one)) for one in (min(values), max(values)))
    ticks = [digit * 10.0**power for power in range(low, high + 1) for digit in digits]
    return {"title": {"text": title}, "type": "log", "tickvals": ticks, "tickformat": ",~f"}


def _trace(name: str, group: Sequence[Chip], most: float) -> dict[str, object]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [chip.memory_Bps / 1e9 for chip in group],
        "y": [_peak_tflops(chip) for chip in group],
        "text": [f"{chip.name}: {decimal(chip.memory_bytes / GIB, 0)} GiB" for chip in group],
        "hovertemplate": "%{text}<br>%{x:,.0f} GB/s, %{y:,.0f} TFLOP/s<extra></extra>",
        "marker": {
            "size": [max(6.0, _LARGEST_PX * (chip.memory_bytes / most) ** 0.5) for chip in group],
            "opacity": 0.75,
        },
    }


def _peak_tflops(chip: Chip) -> float:
    peaks = chip.peak_flops
    return (peaks.get("bf16") or peaks.get("fp16") or 0.0) / 1e12
