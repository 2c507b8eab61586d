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


def why(item: Ranked, best: Ranked | None) -> str:
    """Where the first plan's time goes; what another loses against it, and by which choice."""
    if best is None:
        parts = sorted(item.breakdown.items(), key=lambda part: -part[1])
        says = ", ".join(f"{_words(n)} {p / item.iteration_s:.0%}" for n, p in parts[:3])
        return f"fastest; its time goes to {says}"
    by = ", ".join(_differences(item.plan, best.plan))
    slower = item.iteration_s - best.iteration_s
    if slower <= 1e-9 * best.iteration_s:
        gib = (item.peak_bytes - best.peak_bytes) / GIB
        return f"as fast, with {gib:+.1f} GiB at the peak, by {by}"
    changes = sorted(
        ((item.breakdown[n] - best.breakdown[n], n) for n in item.breakdown), reverse=True
    )
    worse = ", ".join(f"{_words(n)} +{d:.3g} s" for d, n in changes[:2] if d > 0.1 * slower)
    saved, where = changes[-1]
    less = f"; it saves {-saved:.3g} s of {_words(where)}" if -saved > 0.1 * slower else ""
    return f"{slower:.3g} s ({slower / best.iteration_s:.1%}) slower by {by}: {worse}{less}"


def _differences(plan: Plan, best: Plan) -> list[str]:
    differs = [
        f"{name} {getattr(plan, name):g} instead of {getattr(best, name):g}"
        for name in NAMES
        if getattr(plan, name) != getattr(best, name)
    ]
    if plan.recompute != best.recompute:
        now, then = (RECOMPUTE[int(float(p.recompute))] for p in (plan, best))
        differs.append(f"recompute {now} instead of {then}")
    return differs


def _words(part: str) -> str:
    return WORDS.get(part, part.replace("_", " "))
