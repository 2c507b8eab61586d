"""One training over chips of several kinds.

Efficiency has one definition, used everywhere: throughput of the mixed cluster over the sum, over
kinds, of the throughput that kind's chips would have as the best planned cluster of their own, at
the same global batch. What is missing to 1 is said part by part (`losses`), and sums up.

Kinds are divided into blocks in every possible way: a block of one kind runs that kind's own
plan, a block of several runs pipelines over unlike stages. Blocks share the batch by speed, in
whole micro-batches, and exchange gradients once a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from regatta.hardware.clusters import Cluster
from regatta.planning import shapes
from regatta.planning.blocks import (
    Known,
    Option,
    Options,
    Share,
    Tail,
    after_pipeline_s,
    block_s,
    joined,
    of_one_kind,
    over_kinds,
    pipeline,
    uniform_s,
)
from regatta.planning.search import Limits, Site, search, site
from regatta.planning.shapes import BadField, Shape
from regatta.planning.simulate import MOST_DRAWN, Schedule, play, schedule

MOST_KINDS = 5  # which are divided in 52 ways
PRECISION = 1e-6  # of a step time when shares are sought


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of the cluster with its share. sequences: of the batch in one step, with its tail.

    micro_batches[i]: of pipeline i. seconds: of its own step, simulated_s in the simulator.
    """

    option: Option
    sequences: int
    micro_batches: tuple[int, ...]
    tail: Tail
    seconds: float
    simulated_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """A plan for unlike chips. exchange_s: gradients between blocks, where there are several.

    efficiency and simulated_efficiency: as defined above, by the formulas and by the simulator;
    unknown where no kind can hold the model alone. alone: sequences a second of each kind as a
    cluster of its own. losses: shares of the step by cause, which sum to 1 - efficiency.
    uniform_s: of the best plan that treats all chips alike (equal stages, equal shares), None
    where none fits.
    """

    blocks: list[Block]
    exchange_s: float
    iteration_s: float
    simulated_s: float
    efficiency: float | None
    simulated_efficiency: float | None
    alone: dict[str, float]
    losses: dict[str, float]
    uniform_s: float | None


def plan_mixed(
    shape: Shape, cluster: Cluster, global_batch: int, limits: Limits | None = None
) -> Mixed:
    """The fastest plan for a cluster of one or more kinds.

    Raises: BadField; NothingFits where the model fits in no division of the cluster.
    """
    if len(cluster.chips) > MOST_KINDS:
        raise BadField("chips", f"{len(cluster.chips)} kinds; at most {MOST_KINDS} are right")
    limits = limits or Limits()
    kinds = [site(_only(cluster, i)) for i in range(len(cluster.chips))]
    layers: Known = {}
    known: dict[tuple[int, ...], Options] = {}
    for i, at in enumerate(kinds):
        even = of_one_kind(shape, at, limits)
        known[i,] = joined(even, over_kinds(shape, [at], limits, float(global_batch), layers))
    alone = [_alone(shape, known[i,], global_batch) for i in range(len(kinds))]
    speeds = np.array([speed or _guess(at) for speed, at in zip(alone, kinds, strict=True)])
    best: tuple[float, list[Share]] | None = None
    for division in partitions(len(kinds)):
        for group in division:
            if group not in known:
                share = global_batch * float(speeds[list(group)].sum() / speeds.sum())
                members = [kinds[i] for i in group]
                known[group] = over_kinds(shape, members, limits, share, layers)
        options = [known[group] for group in division]
        if all(len(found.unit) for found in options):
            seconds, shares = _shared_batch(options, global_batch)
            seconds += exchange_s(shape, [share.option for share in shares])
            if best is None or seconds < best[0]:
                best = seconds, shares
    if best is None:
        # The largest kind's own search says what is missing.
        largest = max(kinds, key=lambda at: at.count * float(at.machine.memory_bytes))
        search(shape, largest, global_batch, limits=limits, top=1)
        raise BadField("fix", "no division of the cluster has these values; allow more")
    blocks = [_block(shape, share) for share in best[1]]
    return _told(shape, kinds, blocks, alone, global_batch, limits)


def partitions(count: int) -> Iterator[list[tuple[int, ...]]]:
    """All divisions of 0 … count-1 into groups."""
    if not count:
        yield []
        return
    for rest in partitions(count - 1):
        yield [*rest, (count - 1,)]
        for i, group in enumerate(rest):
            yield [*rest[:i], (*group, count - 1), *rest[i + 1 :]]


def exchange_s(shape: Shape, options: Sequence[Option]) -> float:
    """Exposed seconds of summing gradients over blocks, after each has reduced its own.

    The chips of a block hold equal parts of the gradient, so all of them send at once; the block
    with the least bandwidth sets the pace. Ring over blocks: Patarasuk and Yuan 2009.
    """
    if len(options) == 1:
        return 0.0
    moved = 2 * (len(options) - 1) / len(options) * 4.0 * float(shapes.parameters(shape))
    pace = min(
        min(float(s.at.machine.inter_Bps) * float(s.at.constants.inter) for s in option.stages)
        * sum(s.at.count for s in option.stages)
        for option in options
    )
    sites = [stages.at for option in options for stages in option.stages]
    return max(float(at.constants.data_exposed) for at in sites) * moved / pace


def _only(cluster: Cluster, i: int) -> Cluster:
    return Cluster(
        chips=(cluster.chips[i],),
        chips_per_node=cluster.chips_per_node,
        network_Bps_per_chip=cluster.network_Bps_per_chip,
    )


def _guess(at: Site) -> float:
    """How fast a kind is about that cannot hold the model alone: only for the first shares."""
    return at.count * float(at.machine.reach_16_flops) / 1e15


def _alone(shape: Shape, options: Options, batch: int) -> float:
    """Sequences a second of one kind alone with the whole batch; 0 where the model fits not."""
    if not len(options.unit):
        return 0.0
    _, [share] = _shared_batch([options], batch)
    return batch / _block(shape, share).seconds


def _shared_batch(options: Sequence[Options], batch: int) -> tuple[float, list[Share]]:
    """The least time in which blocks together do the batch, and who does how much of it."""

    def capacity(seconds: float) -> float:
        return sum(found.most(seconds) for found in options)

    low, high = 0.0, 1e-3
    while capacity(high) < batch:
        low, high = high, 2 * high
    while high - low > PRECISION * high:
        middle = (low + high) / 2
        low, high = (low, middle) if capacity(middle) >= batch else (middle, high)
    return high, _trimmed([found.share(high) for found in options], batch)


def _trimmed(shares: list[Share], batch: int) -> list[Share]:
    """Shares that sum to the batch: what is too much is taken from tails, then from the rest."""
    excess = sum(share.total for share in shares) - batch
    trimmed = []
    for share in sorted(shares, key=lambda share: -share.tail.sequences):
        of_tail = min(share.tail.sequences, excess)
        less = min(share.sequences, excess - of_tail)
        excess -= of_tail + less
        tail = replace(share.tail, sequences=share.tail.sequences - of_tail)
        trimmed.append(replace(share, sequences=share.sequences - less, tail=tail))
    return [share for share in trimmed if share.total]


def _block(shape: Shape, share: Share) -> Block:
    """A block with its micro-batches dealt out to its pipelines, timed in both ways."""
    option, tail = share.option, share.tail
    total = ceil(share.sequences / option.micro_batch)  # the last may be smaller
    dealt = tuple(
        total // option.dp + (1 if i < total % option.dp else 0) for i in range(option.dp)
    )
    busiest = _busiest(option, dealt)
    played = play(pipeline(shape, option, busiest, tail))
    return Block(
        option=option,
        sequences=share.total,
        micro_batches=dealt,
        tail=tail,
        seconds=block_s(shape, option, busiest, tail),
        simulated_s=after_pipeline_s(option, played.seconds),
    )


def _busiest(option: Option, dealt: Sequence[int]) -> int:
    return ceil(max(dealt) / option.multiple) * option.multiple


def block_schedule(shape: Shape, block: Block, most: int = MOST_DRAWN) -> Schedule:
    """What the stages of a block's busiest pipeline do in a step, for a picture.

    Its stages are those of `block.option.stages` in their order, one per entry of `layers`.
    """
    busiest = _busiest(block.option, block.micro_batches)
    return schedule(pipeline(shape, block.option, busiest, block.tail), most)


def _told(
    shape: Shape,
    kinds: Sequence[Site],
    blocks: list[Block],
    alone: Sequence[float],
    batch: int,
    limits: Limits,
) -> Mixed:
    """The plan with its efficiency and where the rest goes."""
    exchange = exchange_s(shape, [block.option for block in blocks])
    slowest = max(block.seconds for block in blocks)
    seconds = slowest + exchange
    simulated = max(block.simulated_s for block in blocks) + exchange
    names = [at.chip.name for at in kinds]
    own = dict(zip(names, alone, strict=True))
    ideal = sum(alone)
    losses = dict.fromkeys(("waiting", "fewer_micro_batches", "unlike_stages", "exchange"), 0.0)
    for block in blocks:
        speed = sum(own[stages.at.chip.name] for stages in block.option.stages)
        if not ideal:
            break
        # In time: T = sequences / speed + overhead + wait; weighted by speed this sums up.
        weight = speed / ideal / seconds
        over = "unlike_stages" if len(block.option.stages) > 1 else "fewer_micro_batches"
        losses[over] += weight * block.seconds - block.sequences / ideal / seconds
        losses["waiting"] += weight * (slowest - block.seconds)
        losses["exchange"] += weight * exchange
    return Mixed(
        blocks=blocks,
        exchange_s=exchange,
        iteration_s=seconds,
        simulated_s=simulated,
        efficiency=batch / seconds / ideal if ideal else None,
        simulated_efficiency=batch / simulated / ideal if ideal else None,
        alone=own,
        losses=losses,
        uniform_s=uniform_s(shape, kinds, limits, float(batch)),
    )
