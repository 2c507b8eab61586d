"""A discrete-event play of pipeline schedules: 1F1B and interleaved 1F1B on stages of any speed.

It knows no formula of a step's time. Each stage works off a fixed order of operations (Narayanan
2021, section 2.2; Megatron-LM's schedules.py); an operation starts when its stage is free and its
input has come. The sender is busy while it sends, as Megatron's pipelines are by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from regatta.planning.shapes import BadField

MOST_DRAWN = 2000  # operations in one picture: bars that a browser still draws at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """One pipeline. forward_s[s], backward_s[s]: of one micro-batch and one chunk on stage s.

    send_s[s]: of what stage s passes to s+1 and, of equal size, gets back from it; the last entry
    is the way from the last stage to the first, which only chunks (vpp > 1) use.
    reduce_s[s]: of gradients after the last backward on stage s.
    tail: how many of the micro-batches, the last ones, take only tail_share of the time.
    """

    forward_s: Sequence[float]
    backward_s: Sequence[float]
    send_s: Sequence[float]
    reduce_s: Sequence[float]
    micro_batches: int
    vpp: int = 1
    tail: int = 0
    tail_share: float = 1.0

    def size(self, micro_batch: int) -> float:
        """Its time over that of a whole one."""
        return self.tail_share if micro_batch >= self.micro_batches - self.tail else 1.0

    def work_s(self, stage: int, micro_batch: int, *, back: bool) -> float:
        """Seconds of one chunk of it on a stage."""
        whole = (self.backward_s if back else self.forward_s)[stage]
        return whole * self.size(micro_batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """seconds: until everything ended. busy_s[s]: of stage s, computing. end_s[s]: last backward.

    starts: (stage, chunk, micro_batch, backward, seconds) of every operation, in order of start.
    """

    seconds: float
    busy_s: list[float]
    end_s: list[float]
    starts: list[tuple[int, int, int, bool, float]] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One bar of a picture. kind: `forward`, `backward`, or `reduce` (gradients and optimizer, of
    no micro-batch)."""

    start_s: float
    end_s: float
    kind: str
    micro_batch: int | None
    chunk: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What each stage does, in order of time. seconds: of the whole step.

    left_out: operations in the middle of the step that are not among `stages`.
    """

    stages: list[list[Operation]]
    seconds: float
    left_out: int


def schedule(pipeline: Pipeline, most: int = MOST_DRAWN) -> Schedule:
    """The played step for a picture: of more than `most` operations, the first and the last.

    Raises: BadField where an interleaved schedule does not come out even.
    """
    played = play(pipeline)
    starts, first = played.starts, most // 2
    left_out = max(0, len(starts) - most)
    if left_out:
        starts = starts[:first] + starts[first + left_out :]
    stages: list[list[Operation]] = [[] for _ in pipeline.forward_s]
    for stage, chunk, batch, back, start in starts:
        stages[stage].append(
            Operation(
                start_s=start,
                end_s=start + pipeline.work_s(stage, batch, back=back),
                kind="backward" if back else "forward",
                micro_batch=batch,
                chunk=chunk,
            )
        )
    for drawn, end_s, reduce_s in zip(stages, played.end_s, pipeline.reduce_s, strict=True):
        ends = end_s + reduce_s
        drawn.append(Operation(start_s=end_s, end_s=ends, kind="reduce", micro_batch=None))
    return Schedule(stages=stages, seconds=played.seconds, left_out=left_out)


def order(stage: int, pp: int, vpp: int, micro_batches: int) -> list[tuple[int, int, bool]]:
    """What a stage does in turn: (chunk, micro_batch, whether backward)."""
    total, wave = micro_batches * vpp, pp * vpp

    def operation(k: int, back: bool) -> tuple[int, int, bool]:
        chunk = k % wave // pp if vpp > 1 else 0
        batch = k // wave * pp + k % pp if vpp > 1 else k
        return (vpp - 1 - chunk if back else chunk), batch, back

    ahead = (pp - stage - 1) * 2 + (vpp - 1) * pp if vpp > 1 else pp - stage - 1
    ahead = min(total, ahead)
    done = [operation(k, back=False) for k in range(ahead)]
    for k in range(total - ahead):
        done += [operation(k + ahead, back=False), operation(k, back=True)]
    return done + [operation(k, back=True) for k in range(total - ahead, total)]


def play(pipeline: Pipeline) -> Played:
    """Play one step of one pipeline to its end.

    Raises: BadField where an interleaved schedule does not come out even.
    """
    pp, vpp, m = len(pipeline.forward_s), pipeline.vpp, pipeline.micro_batches
    if vpp > 1 and m % pp:
        raise BadField("micro_batches", f"{m} is no multiple of pp = {pp}, as vpp > 1 needs")
    todo = [order(stage, pp, vpp, m) for stage in range(pp)]
    at, free, busy = [0] * pp, [0.0] * pp, [0.0] * pp
    come = {(0, 0, batch, False): 0.0 for batch in range(m)}  # when its input is there
    starts: list[tuple[int, int, int, bool, float]] = []
    ends = [0.0] * pp
    # An event is a stage that may go on: it has become free, or something has come for it.
    events = [(0.0, 0)]
    while events:
        now, stage = heappop(events)
        if now < free[stage] or at[stage] == len(todo[stage]):
            continue
        chunk, batch, back = todo[stage][at[stage]]
        key = (stage, chunk, batch, back)
        if come.get(key, inf) > now:
            continue
        del come[key]
        at[stage] += 1
        starts.append((stage, chunk, batch, back, now))
        work = pipeline.work_s(stage, batch, back=back)
        busy[stage] += work
        ends[stage] = now + work
        target = _next(stage, chunk, back, pp, vpp)
        sent = now + work
        if target and target[0] != stage:
            sent += pipeline.size(batch) * pipeline.send_s[(stage - 1) % pp if back else stage]
        free[stage] = sent
        heappush(events, (sent, stage))
        if target:
            come[target[0], target[1], batch, target[2]] = sent
            heappush(events, (sent, target[0]))
    seconds = max(end + reduce for end, reduce in zip(ends, pipeline.reduce_s, strict=True))
    return Played(seconds=max(seconds, *free), busy_s=busy, end_s=ends, starts=starts)


def _next(stage: int, chunk: int, back: bool, pp: int, vpp: int) -> tuple[int, int, bool] | None:
    """Where the output goes: the next stage or chunk, back from the last, nowhere at the end."""
    if back:
        if stage:
            return stage - 1, chunk, True
        return (pp - 1, chunk - 1, True) if chunk else None
    if stage < pp - 1:
        return stage + 1, chunk, False
    return (0, chunk + 1, False) if chunk < vpp - 1 else (stage, chunk, True)
