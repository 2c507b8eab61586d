"""Every valid plan of a model on a cluster of one kind of chip, ranked by step time.

Two levels: what a layer costs is computed once for the few combinations of choices it depends on,
and looked up for every plan; whether a plan fits is computed for all of them. The time of a whole
step is then computed only where a lower bound (the layers that the fullest stage plays, which is
part of every step's time) does not already exceed the k-th best: an exact pruning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from regatta.hardware.catalogue import GIB, Chip
from regatta.hardware.clusters import Cluster
from regatta.planning import calibration, layers, memory, plans, shapes, step
from regatta.planning.constants import Constants
from regatta.planning.layers import LayerTimes
from regatta.planning.machines import Machine, machine
from regatta.planning.plans import BF16, RECOMPUTE, Plan
from regatta.planning.ranking import NAMES, Ranked, why
from regatta.planning.shapes import BadField, Shape
from regatta.planning.space import DEGREES, SIZES, Matrix, Space, space
from regatta.planning.space import size as space_size

HINT_ROWS = 500_000  # of wider spaces that are tried where nothing fits
BLOCK = 256  # rows evaluated at once: their arrays stay in the processor's cache
TRAINED = ("dtype", "frozen", "grad_bytes")  # fields of Limits that every plan has
SHOWN = 16  # possible values in a message
OF_LAYER = ("tp", "cp", "ep", "etp", "micro_batch")  # degrees that a layer's time depends on


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Feasible plans as points: seconds of a step, and bytes at the peak."""

    times: Matrix
    peaks: Matrix
    indices: NDArray[np.intp]
    space: Space

    def plan(self, at: int) -> Plan:
        """The plan of one point."""
        return self.space.one(int(self.indices[at]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """evaluated: valid plans, of all of which memory and a lower bound were computed.

    feasible: those that fit. timed: those whose whole step was computed, the others being ruled
    out by the bound. seconds: of the search. plans: best first. cloud: where asked for.
    """

    evaluated: int
    feasible: int
    timed: int
    seconds: float
    plans: list[Ranked]
    cloud: Cloud | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is allowed. fix: values by name (`{"tp": [8], "recompute": [0, 1]}`).

    headroom: share of a chip's memory that stays free. dtype: code of plans.DTYPES.
    frozen: 1 where only adapters are trained. grad_bytes: of a reduced gradient element.
    """

    fix: Mapping[str, Collection[float]] = field(default_factory=dict)
    headroom: float = 0.0
    dtype: float = BF16
    frozen: float = 0.0
    grad_bytes: float = 4.0


class NothingFits(Exception):
    """No plan fits: the nearest miss, and what would make it fit.

    peak_bytes: that it needs, of free_bytes. enough_chips: None where no number of them would do.
    """

    def __init__(
        self,
        message: str,
        *,
        plan: Plan,
        peak_bytes: float,
        free_bytes: float,
        enough_chips: int | None,
    ) -> None:
        super().__init__(message)
        self.plan, self.peak_bytes = plan, peak_bytes
        self.free_bytes, self.enough_chips = free_bytes, enough_chips


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where plans run: `count` chips of one kind, and the constants that hold there."""

    chip: Chip
    count: int
    machine: Machine
    constants: Constants


def site(cluster: Cluster, *, stack: str = "", release: str = "") -> Site:
    """The only kind of a cluster. Raises: BadField where there are several, or one has no peak."""
    if len(cluster.chips) != 1:
        kinds = ", ".join(chip.name for chip, _ in cluster.chips)
        raise BadField("chips", f"{kinds}: one kind is right here; `plan mixed` takes several")
    chip, count = cluster.chips[0]
    return Site(
        chip=chip,
        count=count,
        machine=machine(
            chip, chips_per_node=cluster.chips_per_node, network_Bps=cluster.network_Bps_per_chip
        ),
        constants=calibration.constants(chip.name, stack, release),
    )


def search(
    shape: Shape,
    at: Site,
    global_batch: int,
    *,
    limits: Limits | None = None,
    top: int = 5,
    picture: int = 0,
) -> Result:
    """The `top` fastest plans that fit.

    picture: about how many feasible plans to time beside, for a picture; where fewer fit, all.
    Raises: BadField, NothingFits.
    """
    start = perf_counter()
    limits = limits or Limits()
    plans_ = valid_plans(shape, at, at.count, global_batch, limits)
    within = replace(at.machine, memory_bytes=at.machine.memory_bytes * (1 - limits.headroom))
    table = _LayerTable(shape, plans_, at)
    rows = len(plans_.degrees)
    fits = np.zeros(plans_.valid.shape, dtype=bool)
    bounds = np.full(rows, np.inf)
    for block in _blocks(np.arange(rows)):
        plan = plans_.plan(block)
        room = memory.peak(shape, plan, within, at.constants).fits
        fits[block] = plans_.valid[block] & (np.asarray(room) > 0)
        bound = np.where(fits[block], lower_bound(shape, plan, table.of(block)), np.inf)
        bounds[block] = bound.min(axis=(1, 2, 3), initial=np.inf)
    feasible = int(fits.sum())
    if not feasible:
        raise _nearest_miss(shape, at, plans_, within, limits)
    times, indices, timed = _times(shape, at, plans_, table, fits, bounds, top)
    best = np.lexsort((indices, times))[:top]
    return Result(
        evaluated=int(plans_.valid.sum()),
        feasible=feasible,
        timed=timed,
        plans=_ranked(shape, at, [plans_.one(int(indices[i])) for i in best]),
        cloud=_cloud(shape, at, plans_, table, fits, bounds, picture) if picture else None,
        seconds=perf_counter() - start,
    )


def valid_plans(shape: Shape, at: Site, chips: int, global_batch: int, limits: Limits) -> Space:
    """The space under these limits. Raises: BadField."""
    return space(
        shape,
        chips,
        global_batch,
        fix=limits.fix,
        domain_chips=float(at.machine.domain_chips),
        common={name: getattr(limits, name) for name in TRAINED},
    )


def lower_bound(shape: Shape, plan: Plan, layer: LayerTimes) -> Matrix:
    """Seconds that no step of the plan falls below: the fullest stage's layers, and the bubble.

    Each is one of the terms of `step.step`, whose other terms are not negative.
    """
    most, _ = step.stage_layers(shape, plan)
    layer_s = layers.total(layer)
    mean = (shape.layers * layer_s + layer.head_s) / plan.pp
    work = plans.micro_batches(plan) * most * layer_s
    return np.asarray(work + (plan.pp - 1) / plan.vpp * mean)


class _LayerTable:
    """Layer times of the distinct combinations of OF_LAYER, and for each row which one it has."""

    def __init__(self, shape: Shape, plans_: Space, at: Site) -> None:
        columns = plans_.degrees[:, [DEGREES.index(name) for name in OF_LAYER]]
        _, first, self.index = np.unique(columns, axis=0, return_index=True, return_inverse=True)
        self.index = self.index.ravel()
        found = layers.layer_times(shape, plans_.plan(first), at.machine, at.constants)
        full = (len(first), plans_.axes[0].size, 1, plans_.axes[2].size)
        self.times = {
            field.name: np.broadcast_to(getattr(found, field.name), full)
            for field in fields(found)
        }

    def of(self, rows: NDArray[np.intp]) -> LayerTimes:
        """Times of some rows of the space."""
        index = self.index[rows]
        return LayerTimes(**{name: values[index] for name, values in self.times.items()})


def _blocks(rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]


def _times(
    shape: Shape,
    at: Site,
    plans_: Space,
    table: _LayerTable,
    fits: NDArray[np.bool_],
    bounds: Matrix,
    top: int | None,
) -> tuple[Matrix, NDArray[np.intp], int]:
    """Step times with their flat indices: the best `top` at least, or all; and how many in all.

    Rows come in the order of their bounds, so that the first block that exceeds ends it.
    """
    times, indices = np.empty(0), np.empty(0, dtype=np.intp)
    timed, worst = 0, np.inf
    order = np.argsort(bounds, kind="stable")
    flat = np.arange(fits.size, dtype=np.intp).reshape(fits.shape)
    for block in _blocks(order[np.isfinite(bounds[order])]):
        rows = block[bounds[block] <= worst]
        if not rows.size:
            break
        took = step.step(shape, plans_.plan(rows), at.machine, at.constants, table.of(rows))
        fit = fits[rows]
        times = np.concatenate([times, np.broadcast_to(took.iteration_s, fit.shape)[fit]])
        indices = np.concatenate([indices, flat[rows][fit]])
        timed += int(fit.sum())
        if top is not None and len(times) > top:
            worst = float(np.partition(times, top - 1)[top - 1])
            keep = times <= worst
            times, indices = times[keep], indices[keep]
    return times, indices, timed


def _cloud(
    shape: Shape,
    at: Site,
    plans_: Space,
    table: _LayerTable,
    fits: NDArray[np.bool_],
    bounds: Matrix,
    most: int,
) -> Cloud:
    """All feasible plans; where they are too many, those of rows evenly over the bounds."""
    rows = np.argsort(bounds, kind="stable")[: int(np.isfinite(bounds).sum())]
    some = np.zeros(len(bounds), dtype=bool)
    some[rows[:: max(1, -(-int(fits.sum()) // most))]] = True
    chosen = fits & some[:, None, None, None]
    bounds = np.where(some, bounds, np.inf)
    times, indices, _ = _times(shape, at, plans_, table, chosen, bounds, None)
    return Cloud(
        times=times, peaks=_peaks(shape, at, plans_, indices), indices=indices, space=plans_
    )


def _peaks(shape: Shape, at: Site, plans_: Space, indices: NDArray[np.intp]) -> Matrix:
    rows, of = np.unique(indices // plans_.valid[0].size, return_inverse=True)
    peaks = np.empty((len(rows), *plans_.valid.shape[1:]))
    for block in _blocks(np.arange(len(rows))):
        plan = plans_.plan(rows[block])
        peaks[block] = memory.peak(shape, plan, at.machine, at.constants).total_bytes
    found: Matrix = peaks.reshape(len(rows), -1)[of.ravel(), indices % plans_.valid[0].size]
    return found


def predict(shape: Shape, at: Site, plan: Plan) -> Ranked:
    """One plan with everything about it, but for its rank."""
    took = step.step(shape, plan, at.machine, at.constants)
    seconds = float(took.iteration_s)
    flops = float(shapes.step_flops(shape, plan.global_batch))
    return Ranked(
        plan=plan,
        iteration_s=seconds,
        mfu=flops / (seconds * at.count * float(at.machine.peak_16_flops)),
        peak_bytes=float(memory.peak(shape, plan, at.machine, at.constants).total_bytes),
        breakdown={name: float(part) for name, part in took.breakdown.items()},
        why="",
    )


def _ranked(shape: Shape, at: Site, found: list[Plan]) -> list[Ranked]:
    """The plans with everything about them, computed one by one and without any table."""
    ranked: list[Ranked] = []
    for plan in found:
        item = predict(shape, at, plan)
        ranked.append(replace(item, why=why(item, ranked[0] if ranked else None)))
    return ranked


def _nearest_miss(
    shape: Shape,
    at: Site,
    plans_: Space,
    within: Machine,
    limits: Limits,
) -> NothingFits | BadField:
    """The plan that needs the least, and the number of chips or the memory that would do."""
    if not plans_.valid.any():
        return _too_fixed(shape, at, plans_, limits)
    least, index = np.inf, 0
    width = plans_.valid[0].size
    for block in _blocks(np.arange(len(plans_.degrees))):
        room = memory.peak(shape, plans_.plan(block), within, at.constants)
        held = np.where(plans_.valid[block], np.asarray(room.total_bytes), np.inf)
        if held.min() < least:
            least, index = float(held.min()), int(held.argmin()) + int(block[0]) * width
    plan = plans_.one(index)
    degrees = ", ".join(f"{name} {getattr(plan, name):g}" for name in NAMES)
    enough = _enough_chips(shape, at, plans_, within, limits)
    more = f"{enough} chips, or " if enough else ""
    free = float(within.memory_bytes)
    return NothingFits(
        f"memory: nothing fits {at.count} x {at.chip.name}; nearest is {degrees}, recompute "
        f"{RECOMPUTE[int(float(plan.recompute))]}, which needs {least / GIB:.1f} GiB of "
        f"{free / GIB:.1f}; {more}chips with {least / GIB:.0f} GiB free would do",
        plan=plan,
        peak_bytes=least,
        free_bytes=free,
        enough_chips=enough,
    )


def _too_fixed(shape: Shape, at: Site, plans_: Space, limits: Limits) -> BadField:
    """No plan has the fixed values: which one is alone to blame, and what it could be instead."""
    batch = int(plans_.common["global_batch"])
    free = valid_plans(shape, at, at.count, batch, replace(limits, fix={}))
    nothing = f"no plan of {at.count} chips has these values; "
    for name, values in limits.fix.items():
        if name in DEGREES:
            possible = np.unique(free.degrees[:, DEGREES.index(name)]).tolist()
        else:
            possible = list(range(SIZES[name]))
        if not set(values) & set(possible):
            few = ", ".join(f"{value:g}" for value in possible[:SHOWN])
            more = " and more" if len(possible) > SHOWN else ""
            return BadField(name, f"{nothing}possible are {few}{more}")
    return BadField(", ".join(limits.fix), f"{nothing}allow more")


def _enough_chips(
    shape: Shape,
    at: Site,
    plans_: Space,
    within: Machine,
    limits: Limits,
) -> int | None:
    """The first doubling of the chips at which a plan fits, up to 1,024 times as many, as far as
    HINT_ROWS go: a hint must not cost much more than the search."""
    batch, rows = int(plans_.common["global_batch"]), 0
    for times in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]:
        domain = float(at.machine.domain_chips)
        rows += space_size(shape, at.count * times, batch, domain_chips=domain)
        if rows > HINT_ROWS:
            return None
        try:
            wider = valid_plans(shape, at, at.count * times, batch, limits)
        except BadField:
            return None  # the batch does not divide any further
        for block in _blocks(np.arange(len(wider.degrees))):
            room = memory.peak(shape, wider.plan(block), within, at.constants).fits
            if (wider.valid[block] & (np.asarray(room) > 0)).any():
                return at.count * times
    return None
