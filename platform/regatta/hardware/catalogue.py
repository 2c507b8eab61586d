"""Chips of every vendor in one form, so that nothing above this room knows a vendor.

`chips.csv` names them, `figures.csv` holds one figure a row with its year, quality and source.
Qualities, best first: measured, published, approximate (a range, or a rounded figure of the
press), unverified (nobody read the original), assumed (no figure exists; the source says why).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType

GIB = 2**30
QUALITIES = ("measured", "published", "approximate", "unverified", "assumed")
PEAKS = {
    "fp32": "fp32_tflops",
    "tf32": "tf32_tflops",
    "fp16": "fp16_tflops",
    "bf16": "bf16_tflops",
    "fp8": "fp8_tflops",
    "int8": "int8_tops",
    "fp4": "fp4_tflops",
}
MEASURED = {"bf16": "bf16_measured_tflops", "fp8": "fp8_measured_tflops"}
REQUIRED = (
    *("memory_gib", "memory_GBps", "intra_GBps", "inter_GBps"),
    *("domain_chips", "chips_per_node", "mtbf_h"),
)
OPTIONAL = ("host_GBps", "tdp_w", "price_usd_per_hour", "purchase_usd")
FIGURES = frozenset({*REQUIRED, *OPTIONAL, *PEAKS.values(), *MEASURED.values()})


class UnknownChip(ValueError):
    """The catalogue has no chip of this name."""


class NoPeak(ValueError):
    """The chip does not compute in this number format, or nobody says how fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the catalogue, in the unit its name ends with."""

    value: float
    year: int
    quality: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One accelerator as its software sees it: a device of two dies is one, a half of a card too.

    memory_bytes: what a program can allocate of; memory_Bps: its bandwidth.
    peak_flops: dense, by number format; measured_flops: the best large GEMM anyone published.
    intra_Bps: one way, all links of the chip together, among the domain_chips of the fast domain.
    host_Bps: what the chips of a node share through the host's memory where none reaches another
    by itself (no peer-to-peer), else None.
    inter_Bps: one way, this chip's share of the network between nodes.
    mtbf_h: hours of one chip per interruption of a job that holds it.
    figures: everything above as it stands in the file, with year, quality and source.
    """

    name: str
    vendor: str
    form_factor: str
    memory_bytes: float
    memory_Bps: float
    peak_flops: Mapping[str, float]
    measured_flops: Mapping[str, float]
    intra_Bps: float
    host_Bps: float | None
    domain_chips: int
    chips_per_node: int
    inter_Bps: float
    mtbf_h: float
    tdp_w: float | None
    price_usd_per_hour: float | None
    purchase_usd: float | None
    aliases: tuple[str, ...]
    note: str
    figures: Mapping[str, Figure]

    def peak(self, dtype: str) -> float:
        """Dense FLOP/s in this number format.

        Raises: NoPeak, which names the formats the chip has.
        """
        if dtype in self.peak_flops:
            return self.peak_flops[dtype]
        offered = ", ".join(sorted(self.peak_flops)) or "none"
        instead = "; use fp16" if dtype == "bf16" and "fp16" in self.peak_flops else ""
        raise NoPeak(f"dtype: {self.name} has no {dtype} peak, it has {offered}{instead}")


@cache
def catalogue() -> Mapping[str, Chip]:
    """Every chip of the shipped files, by name."""
    folder = Path(__file__).parent
    return read_catalogue(
        (folder / "chips.csv").read_text().splitlines(),
        (folder / "figures.csv").read_text().splitlines(),
    )


def read_catalogue(chips: Iterable[str], figures: Iterable[str]) -> Mapping[str, Chip]:
    """Chips by name from lines of the two files.

    Raises: ValueError that names the chip and the figure which is unknown, missing or absurd.
    """
    return overlaid({}, csv.DictReader(chips), csv.DictReader(figures))


def overlaid(
    chips: Mapping[str, Chip],
    names: Iterable[Mapping[str, str]],
    figures: Iterable[Mapping[str, str]],
) -> Mapping[str, Chip]:
    """These chips with a team's own on top, and with its own figures in place of theirs.

    names, figures: rows as in the two files; of several dated prices, the one in effect.
    Raises: ValueError that names the chip and the figure which is unknown, missing or absurd.
    """
    merged = dict(chips)
    new: dict[str, dict[str, Figure]] = defaultdict(dict)
    rows = {row["chip"]: row for row in names}
    known = _keys(chips)
    for row in figures:
        chip = None if row["chip"] in rows else known.get(key(row["chip"]))
        name, figure = chip.name if chip else row["chip"], row["figure"]
        if figure not in FIGURES or figure in new[name]:
            raise ValueError(f"{name}: {figure} is unknown, or stands there twice")
        new[name][figure] = _figure(row)
    for name, found in new.items():
        if name not in rows and name not in chips:
            raise ValueError(f"{name}: has figures, but nothing names it")
        if name not in rows:
            merged[name] = _chip(_identity(chips[name]), {**chips[name].figures, **found})
    for name, row in rows.items():
        merged[name] = _chip(row, new.get(name, {}))
    return MappingProxyType(merged)


def find(name: str, chips: Mapping[str, Chip] | None = None) -> Chip:
    """The chip of this name or alias; case, spaces, dashes and underscores do not count.

    chips: where to look, by default the shipped catalogue.
    Raises: UnknownChip, which names the nearest ones.
    """
    known = _by_key() if chips is None else _keys(chips)
    if chip := known.get(key(name)):
        return chip
    near = get_close_matches(key(name), known, n=5, cutoff=0.5)
    names = list(dict.fromkeys(known[one].name for one in near))
    meant = f"; did you mean {', '.join(names)}?" if names else ""
    raise UnknownChip(f"chip: the catalogue has no {name!r}{meant}")


@cache
def _by_key() -> Mapping[str, Chip]:
    return _keys(catalogue())


def _keys(chips: Mapping[str, Chip]) -> dict[str, Chip]:
    return {key(name): chip for chip in chips.values() for name in (chip.name, *chip.aliases)}


def key(name: str) -> str:
    """What two spellings of one name have in common."""
    return "".join(c for c in name.lower() if c.isalnum())


def _identity(chip: Chip) -> dict[str, str]:
    """Its row in chips.csv."""
    return {
        "chip": chip.name,
        "vendor": chip.vendor,
        "form_factor": chip.form_factor,
        "aliases": "|".join(chip.aliases),
        "note": chip.note,
    }


def _figure(row: Mapping[str, str]) -> Figure:
    where = f"{row['chip']}: {row['figure']}"
    try:
        figure = Figure(
            value=float(row["value"]),
            year=int(row["year"]),
            quality=row["quality"],
            source=row["source"],
        )
    except ValueError as error:
        raise ValueError(f"{where} needs a number as value and as year") from error
    if not 0 < figure.value < float("inf"):
        raise ValueError(f"{where} must be above 0, it is {figure.value}")
    if not figure.source or figure.quality not in QUALITIES:
        raise ValueError(f"{where} needs a source, and a quality of {', '.join(QUALITIES)}")
    return figure


def _chip(row: Mapping[str, str], figures: Mapping[str, Figure]) -> Chip:
    if missing := [name for name in REQUIRED if name not in figures]:
        raise ValueError(f"{row['chip']}: without {', '.join(missing)}")

    def optional(name: str, unit: float = 1.0) -> float | None:
        return figures[name].value * unit if name in figures else None

    def flops(names: Mapping[str, str]) -> Mapping[str, float]:
        return MappingProxyType(
            {k: figures[v].value * 1e12 for k, v in names.items() if v in figures}
        )

    return Chip(
        name=row["chip"],
        vendor=row["vendor"],
        form_factor=row["form_factor"],
        memory_bytes=figures["memory_gib"].value * GIB,
        memory_Bps=figures["memory_GBps"].value * 1e9,
        peak_flops=flops(PEAKS),
        measured_flops=flops(MEASURED),
        intra_Bps=figures["intra_GBps"].value * 1e9,
        host_Bps=optional("host_GBps", 1e9),
        domain_chips=int(figures["domain_chips"].value),
        chips_per_node=int(figures["chips_per_node"].value),
        inter_Bps=figures["inter_GBps"].value * 1e9,
        mtbf_h=figures["mtbf_h"].value,
        tdp_w=optional("tdp_w"),
        price_usd_per_hour=optional("price_usd_per_hour"),
        purchase_usd=optional("purchase_usd"),
        aliases=tuple(filter(None, row["aliases"].split("|"))),
        note=row["note"],
        figures=MappingProxyType(dict(figures)),
    )
