"""Every valid plan of a model on so many chips: a table of degrees times three small axes.

Exact rules of validity, each an integer condition; nothing is sampled and nothing is left out for
being unusual. Sources: Narayanan 2021 (tp divides heads; interleaving needs layers that divide and
micro-batches in multiples of pp), Korthikanti 2022 (sequence parallelism), Liu 2023 and Megatron
Core (a context rank holds two pieces of the sequence), Lepikhin 2020 (ep divides experts).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from regatta.planning.plans import LIKE_LAYERS, RECOMPUTE, Plan
from regatta.planning.shapes import BadField, Shape

Matrix = NDArray[np.float64]
# Degrees (tp, pp, dp, cp), and the values that go with them: see _splits.
Split = tuple[
    tuple[int, int, int, int], list[int], list[tuple[int, int]], NDArray[np.int_], list[int]
]

DEGREES = ("tp", "pp", "vpp", "dp", "cp", "ep", "etp", "micro_batch", "shard_ranks")
AXES = ("sequence_parallel", "zero_stage", "recompute")
SIZES: Mapping[str, int] = {"sequence_parallel": 2, "zero_stage": 4, "recompute": len(RECOMPUTE)}
ZERO_GRADIENTS = 2
MOST_BATCH = 2**30  # sequences of a step


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """degrees: rows of DEGREES. axes: allowed values of AXES, each along its own dimension.

    valid (rows, sequence_parallel, zero_stage, recompute): which combinations are plans.
    common: fields that all plans have alike.
    """

    degrees: Matrix
    axes: tuple[Matrix, Matrix, Matrix]
    valid: NDArray[np.bool_]
    common: Mapping[str, float]

    def plan(self, rows: NDArray[np.intp] | slice) -> Plan:
        """Plans of some rows as arrays that broadcast to (rows, *axes)."""
        columns = self.degrees[rows].T[..., None, None, None]
        return Plan(
            **dict(zip(DEGREES, columns, strict=True)),
            **dict(zip(AXES, self.axes, strict=True)),
            **self.common,
        )

    def one(self, index: int) -> Plan:
        """The plan at a flat index of `valid`, as floats."""
        row, *at = np.unravel_index(index, self.valid.shape)
        values = (float(axis.ravel()[i]) for axis, i in zip(self.axes, at, strict=True))
        return Plan(
            **dict(zip(DEGREES, self.degrees[row].tolist(), strict=True)),
            **dict(zip(AXES, values, strict=True)),
            **self.common,
        )


def space(
    shape: Shape,
    chips: int,
    global_batch: int,
    *,
    fix: Mapping[str, Collection[float]] | None = None,
    domain_chips: float = 8,
    common: Mapping[str, float] | None = None,
) -> Space:
    """All valid plans that use exactly `chips` chips.

    fix: allowed values by name of a degree or an axis, all by default.
    Raises: BadField where a name is unknown or no split divides the batch.
    """
    if not 1 <= global_batch <= MOST_BATCH:
        raise BadField("global_batch", f"{global_batch}; from 1 to {MOST_BATCH:,} is right")
    fix = fix or {}
    for name in fix:
        if name not in (*DEGREES, *AXES):
            raise BadField(name, f"unknown; one of {', '.join((*DEGREES, *AXES))} can be fixed")
    parts = [part for part in _rows(shape, chips, global_batch, int(domain_chips)) if len(part)]
    degrees = np.concatenate(parts) if parts else np.empty((0, len(DEGREES)))
    if not len(degrees):
        raise BadField("global_batch", _undivided(shape, chips, global_batch))
    for name, allowed in fix.items():
        if name in DEGREES:
            degrees = degrees[np.isin(degrees[:, DEGREES.index(name)], list(allowed))]
    values = [np.array([v for v in range(SIZES[n]) if v in fix.get(n, (v,))], float) for n in AXES]
    sequence, zero, recompute = np.ix_(*values)
    axes = (sequence[None], zero[None], recompute[None])
    tp, pp, _, dp, cp, *_ = degrees.T[..., None, None, None]
    split = (tp > 1) & (shape.seq_len / cp % tp == 0)
    # With a pipeline, ZeRO 2 would reduce gradients for every micro-batch: DeepSpeed refuses it.
    sharded = (dp * cp > 1) & ((axes[1] != ZERO_GRADIENTS) | (pp == 1))
    valid = ((axes[0] == 0) | split) & ((axes[1] == 0) | sharded) & (axes[2] >= 0)
    valid &= (degrees[:, -1, None, None, None] == 0) | (axes[1] > 0)
    return Space(
        degrees=degrees,
        axes=axes,
        valid=valid,
        common={**(common or {}), "global_batch": float(global_batch)},
    )


def divisors(n: int) -> list[int]:
    """All divisors, ascending."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return small + [n // d for d in reversed(small) if d * d != n]


def size(shape: Shape, chips: int, global_batch: int, *, domain_chips: float = 8) -> int:
    """How many rows the space has at most, without building it."""
    every = _splits(shape, chips, global_batch, int(domain_chips))
    return sum(
        len(vpps) * len(pairs) * len(micro) * len(shards)
        for _degrees, vpps, pairs, micro, shards in every
    )


def _splits(shape: Shape, chips: int, batch: int, domain: int) -> Iterator[Split]:
    """For each (tp, pp, dp, cp): the values of vpp, (ep, etp), micro-batch and shard ranks."""
    heads, kv, layers = int(shape.heads), int(shape.kv_heads), int(shape.layers)
    experts, seq_len = int(shape.experts), int(shape.seq_len)
    of_batch = np.array(divisors(batch))
    tps = [d for d in divisors(chips) if heads % d == 0 and (kv % d == 0 or d % kv == 0)]
    for tp in tps:
        for pp in (d for d in divisors(chips // tp) if d <= layers):
            vpps = _interleavings(layers, pp)
            for cp in divisors(chips // (tp * pp)):
                dp = chips // (tp * pp * cp)
                if batch % dp or (cp > 1 and seq_len % (2 * cp)):
                    continue
                per = batch // dp
                micro = of_batch[per % np.minimum(of_batch, per + 1) == 0]
                micro = micro[micro <= per]
                etps = sorted({1, tp}) if experts else [tp]
                pairs = [
                    (ep, etp)
                    for ep, etp in product(divisors(experts) if experts else [1], etps)
                    if tp * cp * dp % (ep * etp) == 0
                ]
                beside = domain // tp
                part = 1 < beside < dp * cp and dp * cp % beside == 0
                yield (tp, pp, dp, cp), vpps, pairs, micro, [0, beside] if part else [0]


def _rows(shape: Shape, chips: int, batch: int, domain: int) -> Iterator[Matrix]:
    """Rows of DEGREES, a block for each split."""
    for (tp, pp, dp, cp), vpps, pairs, micro, shards in _splits(shape, chips, batch, domain):
        every = product(vpps, range(len(pairs)), micro, shards)
        vpp, pair, mb, over = np.array(list(every), dtype=np.float64).T
        even = (vpp == 1) | (batch // dp / mb % pp == 0)
        ep, etp = np.array(pairs, dtype=np.float64)[pair.astype(int)].T
        same = np.ones_like(mb)
        columns = (tp * same, pp * same, vpp, dp * same, cp * same, ep, etp, mb, over)
        yield np.stack(columns, axis=1)[even]


def _interleavings(layers: int, pp: int) -> list[int]:
    """Chunks per stage that come out even; what stands beside the layers may count as some."""
    if pp == 1:
        return [1]
    found = {1}
    for counted in range(layers, layers + LIKE_LAYERS + 1):
        if counted % pp == 0:
            found |= set(divisors(counted // pp))
    return sorted(found)


def _undivided(shape: Shape, chips: int, batch: int) -> str:
    """What global batch would be right: the least data parallelism that any split leaves."""
    tps = [d for d in divisors(chips) if int(shape.heads) % d == 0]
    pps = [d for d in divisors(chips) if d <= int(shape.layers)]
    cps = [d for d in divisors(chips) if d == 1 or int(shape.seq_len) % (2 * d) == 0]
    splits = (tp * pp * cp for tp, pp, cp in product(tps, pps, cps))
    least = min(chips // split for split in splits if chips % split == 0)
    return (
        f"{batch} divides in no way over {chips} chips; "
        f"a multiple of {least} is right, such as {-(-batch // least) * least}"
    )
