"""Clusters: how many chips of which kinds, on what network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regatta.hardware.catalogue import Chip, find

MOST_CHIPS = 2**24  # of one kind; 16 times what anyone has announced
MOST_GBPS = 1e6  # of a network per chip
KEYS = ("chips", "chips_per_node", "network_GBps_per_chip")


class BadCluster(ValueError):
    """The description is no cluster; the message names the field and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Kinds of chips with their counts; where the other two are None, as each kind has it."""

    chips: tuple[tuple[Chip, int], ...]
    chips_per_node: int | None = None
    network_Bps_per_chip: float | None = None

    @property
    def size(self) -> int:
        """Chips of all kinds together."""
        return sum(count for _, count in self.chips)


def read_cluster(
    description: Mapping[str, Any], chips: Mapping[str, Chip] | None = None
) -> Cluster:
    """A cluster from `{"chips": {NAME: COUNT}, "chips_per_node": 8, "network_GBps_per_chip": 25}`.

    The last two may be missing: then each kind's own figures of the catalogue hold.
    Raises: BadCluster, UnknownChip.
    """
    if unknown := sorted(set(description) - set(KEYS)):
        raise BadCluster(f"{unknown[0]}: unknown; a cluster has {', '.join(KEYS)}")
    counts = description.get("chips")
    if not isinstance(counts, Mapping) or not counts:
        raise BadCluster('chips: name at least one kind with its count, as {"A100-80GB": 8}')
    kinds: dict[str, tuple[Chip, int]] = {}
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise BadCluster(f"chips: {name} needs a whole count from 1 up, not {count!r}")
        if count > MOST_CHIPS:
            raise BadCluster(f"chips: {name} needs a count of at most {MOST_CHIPS:,}")
        chip = find(name, chips)
        if chip.name in kinds:
            raise BadCluster(f"chips: {name} is {chip.name}, which is there already")
        kinds[chip.name] = (chip, count)
    per_node = description.get("chips_per_node")
    if per_node is not None and (
        not _number(per_node) or not 1 <= per_node <= MOST_CHIPS or per_node % 1
    ):
        raise BadCluster(f"chips_per_node: a whole number from 1 up, not {per_node!r}")
    network = description.get("network_GBps_per_chip")
    if network is not None and (not _number(network) or not 1 / MOST_GBPS <= network <= MOST_GBPS):
        raise BadCluster(f"network_GBps_per_chip: a number above 0, such as 50, not {network!r}")
    return Cluster(
        chips=tuple(kinds.values()),
        chips_per_node=None if per_node is None else int(per_node),
        network_Bps_per_chip=None if network is None else network * 1e9,
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
