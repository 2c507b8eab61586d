"""Figures of chips in words: their names, units and how sure they are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext_lazy

from apps.http.looks import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """How a figure is called, and in which unit."""

    word: Words
    unit: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Figures that stand together on a page."""

    word: Words
    figures: tuple[str, ...]


_TFLOPS, _GBPS = "TFLOP/s", "GB/s"
FIGURES: Mapping[str, About] = {
    "memory_gib": About(word=gettext_lazy("Memory"), unit="GiB"),
    "memory_GBps": About(word=gettext_lazy("Memory bandwidth"), unit=_GBPS),
    "bf16_tflops": About(word=gettext_lazy("bf16 peak"), unit=_TFLOPS),
    "fp16_tflops": About(word=gettext_lazy("fp16 peak"), unit=_TFLOPS),
    "fp8_tflops": About(word=gettext_lazy("fp8 peak"), unit=_TFLOPS),
    "fp4_tflops": About(word=gettext_lazy("fp4 peak"), unit=_TFLOPS),
    "int8_tops": About(word=gettext_lazy("int8 peak"), unit="TOP/s"),
    "tf32_tflops": About(word=gettext_lazy("tf32 peak"), unit=_TFLOPS),
    "fp32_tflops": About(word=gettext_lazy("fp32 peak"), unit=_TFLOPS),
    "bf16_measured_tflops": About(word=gettext_lazy("bf16 peak, measured"), unit=_TFLOPS),
    "fp8_measured_tflops": About(word=gettext_lazy("fp8 peak, measured"), unit=_TFLOPS),
    "intra_GBps": About(word=gettext_lazy("Fast links, one way"), unit=_GBPS),
    "domain_chips": About(word=gettext_lazy("Chips that the fast links join"), unit=""),
    "inter_GBps": About(word=gettext_lazy("Network, one way"), unit=_GBPS),
    "chips_per_node": About(word=gettext_lazy("Chips of a node"), unit=""),
    "mtbf_h": About(word=gettext_lazy("Hours between interruptions"), unit=gettext_lazy("h")),
    "tdp_w": About(word=gettext_lazy("Power"), unit="W"),
    "price_usd_per_hour": About(word=gettext_lazy("Rent"), unit=gettext_lazy("USD/h")),
    "purchase_usd": About(word=gettext_lazy("Purchase"), unit="USD"),
}
GROUPS = (
    Group(word=gettext_lazy("Memory"), figures=("memory_gib", "memory_GBps")),
    Group(
        word=gettext_lazy("Dense peaks"),
        figures=(
            *("bf16_tflops", "fp16_tflops", "fp8_tflops", "fp4_tflops", "int8_tops"),
            *("tf32_tflops", "fp32_tflops", "bf16_measured_tflops", "fp8_measured_tflops"),
        ),
    ),
    Group(
        word=gettext_lazy("Links"),
        figures=("intra_GBps", "domain_chips", "inter_GBps", "chips_per_node"),
    ),
    Group(word=gettext_lazy("Failures and power"), figures=("mtbf_h", "tdp_w")),
    Group(word=gettext_lazy("Prices"), figures=("price_usd_per_hour", "purchase_usd")),
)
QUALITIES: Mapping[str, Words] = {
    "measured": gettext_lazy("measured"),
    "published": gettext_lazy("published"),
    "approximate": gettext_lazy("approximate"),
    "unverified": gettext_lazy("unverified"),
    "assumed": gettext_lazy("assumed"),
}
QUALITY_MEANS: Mapping[str, Words] = {
    "measured": gettext_lazy("someone ran it and published the figure"),
    "published": gettext_lazy("the vendor, a paper or a cited page says so"),
    "approximate": gettext_lazy("middle of a range, or a rounded figure of the press"),
    "unverified": gettext_lazy("from memory or hearsay: nobody read the original"),
    "assumed": gettext_lazy("no figure exists; the source says why this one"),
}
SURE = frozenset({"measured", "published"})  # other qualities are marked as estimates
