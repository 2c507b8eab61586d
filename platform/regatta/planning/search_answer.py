"""The answer of a search as JSON, as `regatta plan search` and the portal's API give it.

docs/reference/plan-search.md documents its shape.
"""

from __future__ import annotations

from typing import Any

from regatta.hardware.catalogue import GIB
from regatta.planning.plans import RECOMPUTE, Plan
from regatta.planning.ranking import Ranked
from regatta.planning.search import Result

COUNTS = ("tp", "pp", "vpp", "dp", "cp", "ep", "etp", "zero_stage", "shard_ranks", "micro_batch")


def plan_dict(plan: Plan) -> dict[str, Any]:
    """A plan's choices as they stand in the answer."""
    return {
        **{name: int(float(getattr(plan, name))) for name in COUNTS},
        "sequence_parallel": bool(plan.sequence_parallel),
        "recompute": RECOMPUTE[int(float(plan.recompute))],
    }


def as_dict(result: Result) -> dict[str, Any]:
    """The answer of `plan search`; its shape is documented in docs/reference."""
    return {
        "evaluated": result.evaluated,
        "feasible": result.feasible,
        "timed": result.timed,
        "seconds": result.seconds,
        "plans": [_ranked(item) for item in result.plans],
    }


def _ranked(item: Ranked) -> dict[str, Any]:
    return {
        **plan_dict(item.plan),
        "iteration_s": item.iteration_s,
        "mfu": item.mfu,
        "peak_memory_gib": item.peak_bytes / GIB,
        "breakdown": item.breakdown,
        "why": item.why,
    }
