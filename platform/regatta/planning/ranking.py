"""A plan that was found, with its step; and in words why others lose against the first."""

from __future__ import annotations

from dataclasses import dataclass

from regatta.hardware.catalogue import GIB
from regatta.planning.plans import RECOMPUTE, Plan
from regatta.planning.space import DEGREES

WORDS = {
    "gemm": "matrix products",
    "attention": "attention",
    "experts": "experts",
    "elementwise": "norms and activations",
    "recompute": "recomputation",
    "head": "output head",
    "tensor_comm": "tensor-parallel communication",
    "context_comm": "context-parallel communication",
    "expert_comm": "expert-parallel communication",
    "host": "waiting for kernel launches",
    "bubble": "pipeline bubble",
    "pipeline_comm": "passing activations between stages",
    "data_comm": "gradient and parameter communication",
    "optimizer": "optimizer",
    "stragglers": "stragglers",
    "step_overhead": "overhead of a step",
}
NAMES = (*DEGREES, "sequence_parallel", "zero_stage")  # in which two plans are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One plan with its step. why: what it gains or loses against the first."""

    plan: Plan
    iteration_s: float
    mfu: float
    peak_bytes: float
    breakdown: dict[str, float]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a plan loses against the first, and by which choices.

    slower_s: 0 where it is as fast. by: name, its own value, the first's. worse: parts that take
    longer by how many seconds, the most first. saved: the part that takes less, if any matters.
    """

    slower_s: float
    by: list[tuple[str, str, str]]
    worse: list[tuple[str, float]]
    saved: tuple[str, float] | None


def most_of(item: Ranked) -> list[tuple[str, float]]:
    """The parts of a step that take the most, with their seconds."""
    return sorted(item.breakdown.items(), key=lambda part: -part[1])[:3]


def loss(item: Ranked, best: Ranked) -> Loss:
    """What a plan loses against the first."""
    slower = item.iteration_s - best.iteration_s
    if slower <= 1e-9 * best.iteration_s:
        return Loss(slower_s=0.0, by=_differences(item.plan, best.plan), worse=[], saved=None)
    changes = sorted(
        ((item.breakdown[n] - best.breakdown[n], n) for n in item.breakdown), reverse=True
    )
    saved, where = changes[-1]
    return Loss(
        slower_s=slower,
        by=_differences(item.plan, best.plan),
        worse=[(name, more) for more, name in changes[:2] if more > 0.1 * slower],
        saved=(where, -saved) if -saved > 0.1 * slower else None,
    )


def why(item: Ranked, best: Ranked | None) -> str:
    """Where the first plan's time goes; what another loses against it, and by which choice."""
    if best is None:
        says = ", ".join(f"{_words(n)} {p / item.iteration_s:.0%}" for n, p in most_of(item))
        return f"fastest; its time goes to {says}"
    lost = loss(item, best)
    by = ", ".join(f"{name} {now} instead of {then}" for name, now, then in lost.by)
    if not lost.slower_s:
        gib = (item.peak_bytes - best.peak_bytes) / GIB
        return f"as fast, with {gib:+.1f} GiB at the peak, by {by}"
    worse = ", ".join(f"{_words(name)} +{more:.3g} s" for name, more in lost.worse)
    less = f"; it saves {lost.saved[1]:.3g} s of {_words(lost.saved[0])}" if lost.saved else ""
    share = lost.slower_s / best.iteration_s
    return f"{lost.slower_s:.3g} s ({share:.1%}) slower by {by}: {worse}{less}"


def _differences(plan: Plan, best: Plan) -> list[tuple[str, str, str]]:
    differs = [
        (name, f"{getattr(plan, name):g}", f"{getattr(best, name):g}")
        for name in NAMES
        if getattr(plan, name) != getattr(best, name)
    ]
    if plan.recompute != best.recompute:
        now, then = (RECOMPUTE[int(float(p.recompute))] for p in (plan, best))
        differs.append(("recompute", now, then))
    return differs


def _words(part: str) -> str:
    return WORDS.get(part, part.replace("_", " "))
