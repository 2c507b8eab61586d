"""What a formula needs to know of a chip and its links, as floats or arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regatta.hardware.catalogue import Chip
from regatta.planning.shapes import Real

TYPICAL_REACH = 0.8  # of a peak: A100 0.87, H100 0.80, B200 0.78 (MAMF tables of stas00)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A chip with its links. Rates are of dense products; bandwidths per chip and direction.

    peak_16_flops: of the data sheet. reach_…_flops: the best that large products were measured
    to reach, or TYPICAL_REACH of the peak where nobody measured.

    domain_chips: how many chips share the fast links of intra_Bps (a node, or a rack).
    host_Bps: what they share where none reaches another but through the host; else infinite.
    Where a chip has no fp8 or fp4 unit, its peak is that of the next wider type it has.
    """

    memory_bytes: Real
    memory_Bps: Real
    peak_16_flops: Real
    reach_32_flops: Real
    reach_16_flops: Real
    reach_8_flops: Real
    reach_4_flops: Real
    intra_Bps: Real
    host_Bps: Real
    domain_chips: Real
    inter_Bps: Real


def machine(
    chip: Chip, *, chips_per_node: float | None = None, network_Bps: float | None = None
) -> Machine:
    """The machine that a chip of the catalogue is, in nodes and on a network as given.

    chips_per_node: narrows or widens the fast domain, unless the chip's spans racks anyway.
    Raises: NoPeak for a chip without a 16-bit peak.
    """
    peaks = chip.peak_flops
    sixteen = peaks["bf16"] if "bf16" in peaks else chip.peak("fp16")
    reach_16 = chip.measured_flops.get("bf16", TYPICAL_REACH * sixteen)
    eight = chip.measured_flops.get("fp8", TYPICAL_REACH * peaks.get("fp8", 0.0))
    reach_8 = max(eight, reach_16)  # without an fp8 unit, or with one no faster, 16 bits serve
    rack = chip.domain_chips > chip.chips_per_node
    return Machine(
        memory_bytes=chip.memory_bytes,
        memory_Bps=chip.memory_Bps,
        peak_16_flops=sixteen,
        reach_32_flops=TYPICAL_REACH * peaks.get("tf32", peaks.get("fp32", sixteen / 2)),
        reach_16_flops=reach_16,
        reach_8_flops=reach_8,
        reach_4_flops=TYPICAL_REACH * peaks["fp4"] if "fp4" in peaks else reach_8,
        intra_Bps=chip.intra_Bps,
        host_Bps=chip.host_Bps or np.inf,
        domain_chips=float(chip.domain_chips if rack else chips_per_node or chip.domain_chips),
        inter_Bps=network_Bps or chip.inter_Bps,
    )


def link_Bps(machine: Machine, span: Real, intra_Bps: Real, inter_Bps: Real, beside: Real) -> Real:
    """Bandwidth that a ring over `span` neighbouring chips has per chip, in bytes/s.

    Inside a domain that of its links. Beyond it, every member in one domain brings its own
    network port: `beside` members of the group stand in one domain and their ports add up, never
    above the inner links. Through a host's memory, all chips of the ring share one path.
    Source: NCCL's rings over all ports of a node (Jeaugey 2019).
    """
    shared = np.minimum(1.0, machine.host_Bps / machine.intra_Bps / np.maximum(span, 1.0))
    intra_Bps = intra_Bps * shared
    ports = inter_Bps * np.maximum(1.0, beside)
    return np.where(span <= machine.domain_chips, intra_Bps, np.minimum(intra_Bps, ports))
