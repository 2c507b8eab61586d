"""Parts of a mixed cluster: chips of one kind, or pipelines whose stages are of several kinds.

A block is a number of equal pipelines. Its step takes `fixed_s + each_s x micro_batches`: for one
kind by `step.step`, which is linear in the micro-batches; for pipelines over unlike stages by
`pipeline_s`, the longest paths through 1F1B. Groups of tp, cp, ep and dp stay inside one kind;
between kinds only activations pass, or gradients once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from itertools import islice, product
from math import gcd

import numpy as np
from numpy.typing import NDArray

from regatta.planning import layers, memory, plans, step
from regatta.planning.layers import LayerTimes
from regatta.planning.plans import Plan
from regatta.planning.search import BLOCK, TRAINED, Limits, Site, valid_plans
from regatta.planning.shapes import Shape
from regatta.planning.simulate import Pipeline
from regatta.planning.space import Matrix, divisors

MICRO_BATCHES = (1, 2, 4, 8)
TAILS = (1, 2, 4, 8)  # ranks that share one sequence in the smaller micro-batches at a step's end
LEAST_WAVES = (
    2  # before a tail: below, communication that micro-batches hide is not linear in them
)
BACKWARD = 2 / 3  # of a micro-batch's time
KEPT = 60  # pipelines over unlike stages that are worked out, by a bound on their time


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Neighbouring stages on one kind of chip. layers: of each of them, first to last.

    times: of one of these layers.
    """

    at: Site
    plan: Plan
    layers: tuple[int, ...]
    times: LayerTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to use a block: `dp` equal pipelines of these stages, each micro_batch at a time.

    multiple: of which micro_batches must be (pp where chunks are interleaved).
    """

    stages: tuple[Stages, ...]
    dp: int
    micro_batch: int
    multiple: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Smaller micro-batches at the end of a step, where what is left would not fill whole ones.

    Each is of one sequence, over `ranks` replicas beside each other that share it by context
    parallelism, as Megatron Core's hybrid context parallelism does; weights stay where they are.
    sequences: of all of a block's pipelines together. rounds: how many each pipeline plays.
    seconds: of all rounds together.
    """

    ranks: int = 1
    sequences: int = 0
    rounds: int = 0
    seconds: float = 0.0


NO_TAIL = Tail()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a block does of a step: sequences in whole micro-batches, and in its tail."""

    option: Option
    sequences: int
    tail: Tail = NO_TAIL

    @property
    def total(self) -> int:
        """Sequences of the step."""
        return self.sequences + self.tail.sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Ways to use a block with their times: arrays over options.

    unit: sequences that one micro-batch of every pipeline has. option: the one at an index.
    tail_s (TAILS, options): seconds of one round of a tail, inf where there can be none, with
    tail_unit sequences. drain: backward passes of a micro-batch that the pipeline ends with, in
    micro-batches; the tail's are shorter.
    """

    fixed_s: Matrix
    each_s: Matrix
    unit: Matrix
    multiple: Matrix
    option: Callable[[int], Option]
    tail_s: Matrix
    tail_unit: Matrix
    drain: Matrix

    def most(self, seconds: float) -> float:
        """Sequences that the block can do in this time."""
        return self._best(seconds)[0]

    def share(self, seconds: float) -> Share:
        """By which option, in whole micro-batches and a tail, it does the most in this time."""
        _, best, whole, kind, rounds = self._best(seconds)
        tail = self._tail(kind, best, rounds) if rounds else NO_TAIL
        return Share(option=self.option(best), sequences=whole, tail=tail)

    def _best(self, seconds: float) -> tuple[float, int, int, int, int]:
        """Sequences, by which option, how many in whole micro-batches; its tail's kind, rounds."""
        room = seconds - self.fixed_s
        waves = np.maximum(np.floor(room / self.each_s / self.multiple + 1e-9), 0)
        whole = waves * self.multiple * self.unit
        # Another wave is more than any tail, so only these can be the best.
        near = np.flatnonzero(whole + self.multiple * self.unit > whole.max())
        rounds = np.where(
            waves[near] >= LEAST_WAVES,
            self._rounds(room - whole / self.unit * self.each_s, near),
            0,
        )
        done = whole[near] + rounds * self.tail_unit[:, near]
        kind, at = (int(i) for i in np.unravel_index(int(done.argmax()), done.shape))
        best = int(near[at])
        return float(done[kind, at]), best, int(whole[best]), kind, int(rounds[kind, at])

    def _rounds(self, left_s: Matrix, near: NDArray[np.intp]) -> Matrix:
        """Rounds of a tail (TAILS, near) in the time that is left, of less than a whole wave."""
        each, of = self.tail_s[:, near], self.multiple[near]
        left = np.maximum(left_s[near], 0)
        drained = left + self.drain[near] * np.maximum(self.each_s[near] - each, 0)
        fit = np.minimum(left / BACKWARD, drained) / each
        whole = np.ceil(of * self.unit[near] / self.tail_unit[:, near]) - 1
        return np.asarray(np.floor(np.minimum(fit + 1e-9, whole) / of) * of)

    def _tail(self, kind: int, best: int, rounds: int) -> Tail:
        """Its time is its work, less what it saves while the pipeline empties.

        Not less than its backward passes, which the first stage plays after all the others.
        """
        each = self.tail_s[kind, best]
        saved = self.drain[best] * (self.each_s[best] - each)
        return Tail(
            ranks=TAILS[kind],
            sequences=int(rounds * self.tail_unit[kind, best]),
            rounds=rounds,
            seconds=float(max(BACKWARD * rounds * each, rounds * each - saved)),
        )


def joined(*parts: Options) -> Options:
    """All of them as one."""
    first = np.cumsum([0, *(len(part.unit) for part in parts)])

    def option(i: int) -> Option:
        part = int(np.searchsorted(first, i, side="right")) - 1
        return parts[part].option(i - int(first[part]))

    return Options(
        option=option,
        **{
            name: np.concatenate([getattr(part, name) for part in parts], axis=-1)
            for name in ("fixed_s", "each_s", "unit", "multiple", "tail_s", "tail_unit", "drain")
        },
    )


def of_one_kind(shape: Shape, at: Site, limits: Limits) -> Options:
    """Every plan of one kind's chips that fits, its stages even.

    Replicas may differ by one micro-batch, so that the batch need not divide, and the step may
    end in a tail.
    """
    batch = 8 * at.count  # which every dp, every micro-batch and every pipeline divides
    usual = replace(limits, fix={"micro_batch": MICRO_BATCHES, **limits.fix})
    all_plans = valid_plans(shape, at, at.count, batch, usual)
    valid = all_plans.valid.copy()
    fixed_s, each_s = np.empty(valid.shape), np.empty(valid.shape)
    tail_s = np.empty((len(TAILS), *valid.shape))
    for start in range(0, len(valid), BLOCK):
        rows = slice(start, start + BLOCK)
        plan = all_plans.plan(rows)
        valid[rows] &= _fits(shape, plan, at, limits)
        fixed_s[rows], each_s[rows] = _linear(shape, plan, at)
        for i, ranks in enumerate(TAILS):
            fixed = (ranks > 1 and "cp" in limits.fix) or 1 not in usual.fix["micro_batch"]
            tail_s[i, rows] = np.inf if fixed else _tail_s(shape, plan, at, ranks)
    flat = np.flatnonzero(valid)
    pp, vpp, dp, micro = all_plans.degrees[flat // max(1, valid[:1].size)].T[[1, 2, 3, 7]]
    multiple = np.where(vpp > 1, pp, 1.0)

    def option(i: int) -> Option:
        plan = all_plans.one(int(flat[i]))
        return Option(
            stages=(_stages(shape, at, plan, _even(shape, plan)),),
            dp=int(dp[i]),
            micro_batch=int(micro[i]),
            multiple=int(multiple[i]),
        )

    return Options(
        fixed_s=fixed_s[valid],
        each_s=each_s[valid],
        unit=dp * micro,
        multiple=multiple,
        option=option,
        tail_s=tail_s[:, valid],
        tail_unit=dp / np.array(TAILS)[:, None],
        # Of chunks about half, as they end in waves (by the simulator).
        drain=BACKWARD * (pp - 1) / np.where(vpp > 1, 2 * vpp, 1),
    )


def _stages(shape: Shape, at: Site, plan: Plan, counts: tuple[int, ...]) -> Stages:
    times = layers.layer_times(shape, plan, at.machine, at.constants)
    return Stages(at=at, plan=plan, layers=counts, times=times)


def uniform_s(shape: Shape, kinds: Sequence[Site], limits: Limits, share: float) -> float | None:
    """The best step of one plan that treats all chips alike: the slowest kind sets its pace.

    share: sequences of a step. None where no plan fits every kind.
    """
    chips = sum(at.count for at in kinds)
    usual = replace(limits, fix={"micro_batch": MICRO_BATCHES, **limits.fix})
    narrow = min(kinds, key=lambda at: float(at.machine.domain_chips))
    all_plans = valid_plans(shape, narrow, chips, 8 * chips, usual)
    plan = all_plans.plan(slice(None))
    valid, slowest = all_plans.valid, np.zeros(all_plans.valid.shape)
    rounds = np.ceil(share / (plan.dp * plan.micro_batch))
    rounds = np.where(np.asarray(plan.vpp) > 1, np.ceil(rounds / plan.pp) * plan.pp, rounds)
    for at in kinds:
        fixed_s, each_s = _linear(shape, plan, at)
        slowest = np.maximum(slowest, fixed_s + each_s * rounds)
        valid = valid & _fits(shape, plan, at, limits) & (at.count % np.asarray(plan.tp) == 0)
    return float(slowest[valid].min()) if valid.any() else None


def over_kinds(
    shape: Shape, kinds: Sequence[Site], limits: Limits, share: float, known: Known | None = None
) -> Options:
    """Pipelines with layers by the speed of stages, of one or more kinds; memory-rich chips first.

    The first stages hold the most micro-batches. Dense and MoE layers count as their mean. Of all
    splits, those are worked out that are best when layers need not be whole, for about `share`
    sequences a step. known: layers timed before, for other groups of the same kinds.
    """
    kinds = sorted(kinds, key=lambda at: -float(at.machine.memory_bytes))
    known = {} if known is None else known
    splits = sorted(_splits(shape, kinds, limits, share, known), key=lambda split: split.bound_s)
    worked_out = (_with_layers(shape, split, limits) for split in splits)
    found = list(islice(filter(None, worked_out), KEPT))
    times = []
    for option in found:
        rounds = round(share / (option.dp * option.micro_batch))
        m = max(sum(len(s.layers) for s in option.stages), rounds)
        once = pipeline(shape, option, m)
        one, two = (
            after_pipeline_s(option, pipeline_s(replace(once, micro_batches=n)))
            for n in (m, 2 * m)
        )
        times.append((2 * one - two, (two - one) / m))
    fixed_s, each_s = np.array(times).reshape(-1, 2).T
    return Options(
        fixed_s=fixed_s,
        each_s=each_s,
        unit=np.array([o.dp * o.micro_batch for o in found], dtype=np.float64),
        multiple=np.ones(len(found)),
        option=found.__getitem__,
        tail_s=np.full((len(TAILS), len(found)), np.inf),
        tail_unit=np.ones((len(TAILS), len(found))),
        drain=np.zeros(len(found)),
    )


def block_s(shape: Shape, option: Option, micro_batches: int, tail: Tail = NO_TAIL) -> float:
    """Seconds of one step of a block whose busiest pipeline has so many micro-batches."""
    stages = option.stages[0]
    if len(option.stages) == 1 and len(stages.layers) == stages.plan.pp:  # even stages
        plan = _with_micro_batches(stages.plan, micro_batches)
        took = step.step(shape, plan, stages.at.machine, stages.at.constants)
        return float(took.iteration_s) + tail.seconds
    return after_pipeline_s(option, pipeline_s(pipeline(shape, option, micro_batches)))


def after_pipeline_s(option: Option, seconds: float) -> float:
    """The step that a pipeline's time makes, with stragglers and the overhead of a step."""
    chips = sum(stages.at.count for stages in option.stages)
    constants = [stages.at.constants for stages in option.stages]
    straggle = max(float(k.straggle) for k in constants) * np.log2(max(chips / 8, 1))
    return float(seconds * (1 + straggle) + max(float(k.step_s) for k in constants))


def pipeline(shape: Shape, option: Option, micro_batches: int, tail: Tail = NO_TAIL) -> Pipeline:
    """One pipeline of a block for the simulator: seconds of each stage, and what it passes on."""
    forward: list[float] = []
    backward: list[float] = []
    send: list[float] = []
    ends: list[float] = []
    vpp, pp = 1, sum(len(stages.layers) for stages in option.stages)
    sites = [stages for stages in option.stages for _ in stages.layers]
    share = _tail_share(shape, option.stages[0], tail) if tail.rounds else 1.0
    rounds = micro_batches + tail.rounds
    for stages in option.stages:
        at, layer = stages.at, stages.times
        total, again = float(layers.total(layer)), float(layer.recompute_s)
        vpp = int(float(stages.plan.vpp))
        plan = _with_micro_batches(replace(stages.plan, pp=float(pp)), rounds)
        work = (micro_batches + tail.rounds * share) * total
        once = {
            count: _once_s(shape, plan, at, count, work * count) for count in set(stages.layers)
        }
        for count in stages.layers:
            whole = count * total + (float(layer.head_s) if len(forward) == pp - 1 else 0.0)
            forward.append((whole - count * again) / 3 / vpp)
            backward.append(whole / vpp - forward[-1])
            ends.append(once[count])
    for here, there in zip(sites, [*sites[1:], sites[0]], strict=True):
        slow = min((here, there), key=lambda s: float(s.at.machine.inter_Bps) * float(s.plan.tp))
        plan = replace(slow.plan, pp=float(pp), vpp=1.0)
        machine = slow.at.machine
        if here.at is not there.at:  # no fast link joins unlike chips
            machine = replace(machine, domain_chips=1.0)
        hop = step.pipeline_hop(shape, plan, machine, slow.at.constants)
        send.append(float(hop) / 2)
    return Pipeline(
        forward_s=forward,
        backward_s=backward,
        send_s=send,
        reduce_s=ends,
        micro_batches=rounds,
        vpp=vpp,
        tail=tail.rounds,
        tail_share=share,
    )


def _once_s(shape: Shape, plan: Plan, at: Site, count: int, compute_s: float) -> float:
    """Seconds that a stage of so many layers needs after its last backward, once a step."""
    part = replace(shape, layers=float(count * plan.pp))
    comm = step.data_comm(part, plan, at.machine, at.constants, compute_s)
    return float(sum(comm) + step.optimizer_s(part, plan, at.machine, at.constants))


def pipeline_s(of: Pipeline) -> float:
    """Seconds of a step of 1F1B on unlike stages: the longest of the paths through one stage i.

    Down to i; then either all of i's first forwards or a way to the end and back, whichever is
    longer; one period of i per micro-batch; the same at the end. Exact for even stages, where it
    is (m + pp - 1) periods. For vpp = 1 and micro_batches of pp or more.
    """
    send = np.array([*of.send_s[:-1], 0.0])
    came = np.array([0.0, *of.send_s[:-1]])
    forward, backward = np.array(of.forward_s) + send, np.array(of.backward_s) + came
    period = forward + backward
    pp, m = len(period), of.micro_batches
    above = np.concatenate([[0.0], np.cumsum(period)])[:-1]
    onward = np.cumsum(period[::-1])[::-1]
    left = np.minimum(pp - np.arange(pp), m)
    start = np.maximum(onward, left * forward + backward)
    end = np.maximum(onward, forward + left * backward)
    whole = np.max(above + start + np.maximum(m - 1 - left, -1) * period + end)
    back = np.concatenate([[0.0], np.cumsum(backward)])[:-1]
    return float(np.max(whole - back + np.array(of.reduce_s)))


def peak_share(shape: Shape, stages: Stages, behind: int) -> float:
    """Share of a chip's memory that the first of these stages needs; `behind` it come others."""
    pp = float(behind + len(stages.layers))
    part = replace(shape, layers=max(stages.layers) * pp)
    plan = replace(stages.plan, pp=pp)
    at = stages.at
    held = memory.peak(part, plan, at.machine, at.constants)
    return float(held.total_bytes) / float(at.machine.memory_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """Stages of each kind before layers are dealt out. bound_s: a step if layers divided."""

    members: list[Stages]
    counts: list[int]
    bound_s: float


Known = dict[tuple[str, float, float, float, float], LayerTimes]  # by chip and _plan's choices


def _splits(
    shape: Shape, kinds: Sequence[Site], limits: Limits, share: float, known: Known
) -> Iterator[_Split]:
    """All splits over dp, a tp for each kind, micro-batch and recomputation."""
    common = reduce(gcd, (at.count for at in kinds))
    choices = [
        [d for d in divisors(at.count) if d <= at.machine.domain_chips and shape.heads % d == 0]
        for at in kinds
    ]

    @cache
    def timed(i: int, dp: int, tp: int, micro: int, recompute: float) -> tuple[Stages, float]:
        at, plan = kinds[i], _plan(shape, dp, tp, micro, recompute, limits)
        key = (at.chip.name, float(tp), float(plan.ep), float(micro), recompute)
        if key not in known:
            known[key] = layers.layer_times(shape, plan, at.machine, at.constants)
        stages = Stages(at=at, plan=plan, layers=(), times=known[key])
        return stages, float(layers.total(stages.times))

    for dp, tps in product(divisors(common), product(*choices)):
        if any(at.count % (dp * tp) for at, tp in zip(kinds, tps, strict=True)):
            continue
        counts = [at.count // (dp * tp) for at, tp in zip(kinds, tps, strict=True)]
        if sum(counts) > shape.layers:
            continue
        for micro, recompute in product(MICRO_BATCHES, (plans.NONE, plans.SELECTIVE, plans.FULL)):
            members = [timed(i, dp, tp, micro, recompute) for i, tp in enumerate(tps)]
            if not all(_is_fixed(stages.plan, sum(counts), limits) for stages, _ in members):
                continue
            speed = sum(n / each_s for n, (_, each_s) in zip(counts, members, strict=True))
            rounds = max(1.0, share / (dp * micro)) + sum(counts) - 1
            yield _Split(
                members=[stages for stages, _ in members],
                counts=counts,
                bound_s=float(shape.layers) / speed * rounds,
            )


def _is_fixed(plan: Plan, pp: int, limits: Limits) -> bool:
    """Whether a part of a pipeline of so many stages has the values that are fixed."""
    whole = replace(plan, pp=float(pp))
    return all(getattr(whole, name) in values for name, values in limits.fix.items())


def _plan(shape: Shape, dp: int, tp: int, micro: int, recompute: float, limits: Limits) -> Plan:
    ep = max((d for d in divisors(int(shape.experts)) if dp % d == 0), default=1)
    return Plan(
        tp=float(tp),
        pp=1.0,
        vpp=1.0,
        dp=float(dp),
        cp=1.0,
        ep=float(ep if shape.experts else 1),
        etp=1.0 if shape.experts else float(tp),
        micro_batch=float(micro),
        global_batch=float(dp * micro),
        sequence_parallel=float(tp > 1),
        zero_stage=float(dp > 1),
        recompute=recompute,
        **{name: getattr(limits, name) for name in TRAINED},
    )


def _with_layers(shape: Shape, split: _Split, limits: Limits) -> Option | None:
    """Layers over stages so that the slowest is as fast as can be, if every stage then fits."""
    members, counts = split.members, split.counts
    each = np.repeat([float(layers.total(member.times)) for member in members], counts)
    head = np.zeros(len(each))
    head[-1] = float(members[-1].times.head_s)
    given = shared(int(shape.layers), each, head)
    if given.min() < 1:
        return None
    parts = np.split(given, np.cumsum(counts)[:-1])
    stages, behind = [], len(given)
    for member, part in zip(members, parts, strict=True):
        behind -= len(part)
        filled = replace(member, layers=tuple(int(n) for n in part))
        if peak_share(shape, filled, behind) > 1 - limits.headroom:
            return None
        stages.append(filled)
    plan = members[0].plan
    return Option(
        stages=tuple(stages), dp=int(plan.dp), micro_batch=int(plan.micro_batch), multiple=1
    )


def shared(total: int, each_s: Matrix, extra_s: Matrix) -> NDArray[np.int64]:
    """Whole numbers that sum to `total` and make the largest `count x each_s + extra_s` least.

    Given one by one to where the sum grows least, which is optimal for such sums (Fox 1966).
    """
    least = total / np.sum(1 / each_s)  # no split is better, so this many are in every best one
    start = np.floor(np.maximum(0, (least - extra_s) / each_s)).astype(np.int64)
    for _ in range(total - int(start.sum())):
        start[np.argmin((start + 1) * each_s + extra_s)] += 1
    return start


def _fits(shape: Shape, plan: Plan, at: Site, limits: Limits) -> NDArray[np.bool_]:
    within = replace(at.machine, memory_bytes=at.machine.memory_bytes * (1 - limits.headroom))
    return np.asarray(memory.peak(shape, plan, within, at.constants).fits) > 0


def _linear(shape: Shape, plan: Plan, at: Site) -> tuple[Matrix, Matrix]:
    """Seconds of a step with no micro-batch, and of each one more."""
    layer = layers.layer_times(shape, plan, at.machine, at.constants)
    one, two = (
        np.asarray(
            step.step(
                shape, _with_micro_batches(plan, m), at.machine, at.constants, layer
            ).iteration_s
        )
        for m in (64, 128)
    )
    return 2 * one - two, (two - one) / 64


def _tail_plan(plan: Plan, ranks: int) -> Plan:
    """The plan of a tail's micro-batches: neighbouring replicas share a sequence."""
    return replace(plan, micro_batch=1.0, cp=plan.cp * ranks, dp=plan.dp / ranks)


def _tail_s(shape: Shape, plan: Plan, at: Site, ranks: int) -> Matrix:
    """Seconds of one round of a tail, inf where the plan can have none of so many ranks."""
    tail = _tail_plan(plan, ranks)
    smaller = (np.asarray(plan.micro_batch) > 1) | (ranks > 1)
    near = tail.tp * tail.cp <= at.machine.domain_chips
    even = (plan.dp % ranks == 0) & ((tail.cp == 1) | (shape.seq_len % (2 * tail.cp) == 0))
    split = (np.asarray(plan.sequence_parallel) == 0) | (shape.seq_len / tail.cp % plan.tp == 0)
    return np.where(smaller & near & even & split, _linear(shape, tail, at)[1], np.inf)


def _tail_share(shape: Shape, stages: Stages, tail: Tail) -> float:
    """A round of the tail over a whole micro-batch, in time."""
    whole = stages.times
    last = _stages(shape, stages.at, _tail_plan(stages.plan, tail.ranks), stages.layers).times
    count = sum(stages.layers)
    return float(
        (count * layers.total(last) + last.head_s) / (count * layers.total(whole) + whole.head_s)
    )


def _with_micro_batches(plan: Plan, micro_batches: int) -> Plan:
    return replace(plan, global_batch=plan.dp * plan.micro_batch * micro_batches)


def _even(shape: Shape, plan: Plan) -> tuple[int, ...]:
    """Layers per stage of a plan over even stages; where they do not divide the last have less."""
    pp, count = int(plan.pp), int(shape.layers)
    return tuple(count // pp + (1 if i < count % pp else 0) for i in range(pp))
