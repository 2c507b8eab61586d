"""The best plan for one kind of chip at one count, from a compact space of usual plans.

Powers of two for every degree; sequence parallelism goes with tp; ZeRO-3 stands for a pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from regatta.hardware.catalogue import Chip
from regatta.planning import calibration, memory, plans, step
from regatta.planning.machines import machine
from regatta.planning.plans import Plan
from regatta.planning.shapes import BadField, Real, Shape, step_flops

GIB = 2**30
MICRO_BATCHES = (1, 2, 4, 8)
VIRTUAL = (1, 2, 4)
LONG_SEQUENCE = 16_384  # from here on context parallelism is tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One plan with its step on `count` chips. fits is false for the nearest miss."""

    plan: Plan
    count: int
    iteration_s: float
    breakdown: dict[str, float]
    mfu: float
    peak_bytes: float
    fits: bool


def best_plan(
    shape: Shape, chip: Chip, count: int, global_batch: int, *, dtype: str, frozen: bool = False
) -> Candidate:
    """The fastest plan that fits; if none fits, the one that needs the least memory.

    frozen: only adapters are trained.
    Raises: BadField where no split divides the batch over the chips; NoPeak where the chip does
    not compute in dtype.
    """
    chip.peak("fp8" if dtype == "mxfp8" else dtype)
    here = machine(chip)
    k = calibration.constants(chip.name)
    space = _space(shape, chip, count, global_batch)
    space = replace(space, dtype=float(plans.DTYPES.index(dtype)), frozen=float(frozen))
    room = memory.peak(shape, space, here, k)
    fitting = np.flatnonzero(room.fits)
    if fitting.size:
        chosen = _one(space, fitting)
        times = np.asarray(step.step(shape, chosen, here, k).iteration_s)
        plan = _one(chosen, int(times.argmin()))
    else:
        plan = _one(space, int(np.asarray(room.total_bytes).argmin()))
    return evaluated(shape, plan, chip, count, fits=bool(fitting.size))


def evaluated(shape: Shape, plan: Plan, chip: Chip, count: int, *, fits: bool) -> Candidate:
    """Everything about one plan, as plain numbers."""
    here, k = machine(chip), calibration.constants(chip.name)
    took = step.step(shape, plan, here, k)
    seconds = float(took.iteration_s)
    flops = float(step_flops(shape, plan.global_batch))
    return Candidate(
        plan=plan,
        count=count,
        iteration_s=seconds,
        breakdown={name: float(part) for name, part in took.breakdown.items()},
        mfu=flops / (seconds * count * float(here.peak_16_flops)),
        peak_bytes=float(memory.peak(shape, plan, here, k).total_bytes),
        fits=fits,
    )


def _space(shape: Shape, chip: Chip, count: int, global_batch: int) -> Plan:
    heads, layers = int(shape.heads), int(shape.layers)
    cp_most = 16 if float(shape.seq_len) >= LONG_SEQUENCE else 1
    columns = _grid(count, chip.chips_per_node, cp_most, int(shape.experts))
    tp, pp, cp, ep, vpp, mb, zero, recompute = columns
    dp = count // (tp * pp * cp)
    keep = (dp * tp * pp * cp == count) & (heads % tp == 0) & (pp * vpp <= layers)
    keep &= (vpp == 1) | ((pp > 1) & (layers % (pp * vpp) == 0))
    keep &= ((zero < 3) | (pp == 1)) & ((dp * cp * tp) % ep == 0)
    least = int((dp * mb)[keep].min())
    keep &= (global_batch % np.maximum(dp * mb, 1) == 0) & (
        (pp == 1) | (global_batch >= dp * mb * pp)  # a pipeline that is never full is no plan
    )
    if not keep.any():
        raise BadField(
            "global_batch",
            f"{global_batch} divides in no way over {count} {chip.name}; "
            f"a multiple of {least} is right",
        )
    tp, pp, cp, ep, vpp, mb, zero, recompute, dp = (
        column[keep].astype(np.float64) for column in (*columns, dp)
    )
    return Plan(
        tp=tp,
        pp=pp,
        vpp=vpp,
        dp=dp,
        cp=cp,
        ep=ep,
        etp=np.where(ep > 1, 1.0, tp),
        micro_batch=mb,
        global_batch=np.full_like(tp, float(global_batch)),
        sequence_parallel=np.where(tp > 1, 1.0, 0.0),
        zero_stage=zero,
        recompute=recompute,
    )


@cache
def _grid(count: int, node: int, cp_most: int, experts: int) -> tuple[NDArray[np.int64], ...]:
    """Every combination of the choices, one array a choice."""
    axes: Sequence[Sequence[int]] = (
        _powers(min(node, count)),
        _powers(min(64, count)),
        _powers(min(cp_most, count)),
        [d for d in _powers(min(experts, 64, count)) if experts % d == 0] if experts else [1],
        VIRTUAL,
        MICRO_BATCHES,
        (1, 3),
        (int(plans.NONE), int(plans.SELECTIVE), int(plans.FULL)),
    )
    return tuple(axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))


def _powers(most: int) -> list[int]:
    return [2**n for n in range(max(1, most).bit_length())]


def _one(plan: Plan, index: int | NDArray[np.int64]) -> Plan:
    """The plan at this index of a space, or a smaller space."""
    size = np.asarray(plan.tp).shape

    def at(value: Real) -> Real:
        picked: NDArray[np.float64] = np.broadcast_to(np.asarray(value, np.float64), size)[index]
        return picked if np.ndim(picked) else float(picked)

    return replace(plan, **{name: at(getattr(plan, name)) for name in plan.__slots__})
