"""Nodes by what they have: how much of it is in use, as a table of cells. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apps.clusters.selectors import LiveNode
from apps.insights.charts import decimal
from apps.insights.models import NodeSample

LEVELS = 8
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Cell:
    """text: what stands in it. label: for whoever does not see it. level: 0..7, or "none"."""

    text: str
    label: str
    level: int | str
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    node: str
    role: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """columns: CPU, memory, and the chips by number. A cell is empty where a node has no such."""

    columns: Sequence[str]
    rows: Sequence[Row]
    simulated: bool

    @property
    def hatched(self) -> bool:
        """Whether a cell has no share to show."""
        return any(cell.level == "none" for row in self.rows for cell in row.cells)


def heat_map(nodes: Sequence[LiveNode], samples: Mapping[int, NodeSample]) -> HeatMap:
    """The nodes of a cluster with their latest samples; without one, a cell says "no data"."""
    most_chips = max((node.chips for node in nodes), default=0)
    chips = [_("Chip %(number)d") % {"number": number} for number in range(1, most_chips + 1)]
    return HeatMap(
        columns=[_("CPU"), _("Memory"), *chips],
        rows=[Row(node.name, node.role, _cells(node, samples.get(node.pk))) for node in nodes],
        simulated=most_chips > 0,
    )


def _cells(node: LiveNode, sample: NodeSample | None) -> list[Cell]:
    if sample is None:
        nothing = Cell("?", _("no data from the last half minute"), "none")
        return [nothing, nothing, *[nothing] * node.chips]
    return [
        _cpu(sample),
        _memory(sample),
        *[_chip(node.chip, sample.chips_allocated - place) for place in range(node.chips)],
    ]


def _cpu(sample: NodeSample) -> Cell:
    used = {"used": decimal(sample.cpus_used, 1), "all": decimal(sample.cpus, 0)}
    if not sample.cpus:  # a head offers no CPU, and uses some
        return Cell(used["used"], _("%(used)s CPUs busy; it offers none to jobs") % used, "none")
    label = _("%(used)s of %(all)s CPUs busy") % used
    return Cell(
        _percent(sample.cpus_used / sample.cpus), label, _level(sample.cpus_used / sample.cpus)
    )


def _memory(sample: NodeSample) -> Cell:
    used, whole = sample.memory_used_bytes / _GIB, sample.memory_bytes / _GIB
    said = {"used": decimal(used, 1), "all": decimal(whole, 1)}
    if not sample.cpus or not whole:  # nothing binds a head to the memory it was planned with
        return Cell(f"{said['used']} GiB", _("%(used)s GiB in use") % said, "none")
    return Cell(
        _percent(used / whole), _("%(used)s of %(all)s GiB in use") % said, _level(used / whole)
    )


def _chip(name: str, allocated: float) -> Cell:
    share = min(1.0, max(0.0, allocated))
    said = {"chip": name, "percent": _percent(share)}
    label = _("%(percent)s of a simulated %(chip)s given to work") % said
    return Cell(_percent(share), label, _level(share), simulated=True)


def _percent(share: float) -> str:
    return f"{decimal(100 * share, 0)} %"


def _level(share: float) -> int:
    return min(LEVELS - 1, int(share * LEVELS))
