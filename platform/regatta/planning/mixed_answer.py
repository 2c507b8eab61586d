"""A plan for unlike chips as data: the answer of `regatta plan mixed --json` and of the portal.

Its shape is documented in docs/reference/plan-mixed.md.
"""

from __future__ import annotations

from typing import Any

from regatta.planning.blocks import Stages
from regatta.planning.mixed import Block, Mixed
from regatta.planning.search_answer import plan_dict


def as_dict(found: Mixed, seconds: float) -> dict[str, Any]:
    """seconds: that the search took."""
    return {
        "seconds": seconds,
        "iteration_s": found.iteration_s,
        "simulated_s": found.simulated_s,
        "efficiency": found.efficiency,
        "simulated_efficiency": found.simulated_efficiency,
        "alone_sequences_per_s": found.alone,
        "losses": found.losses,
        "uniform_s": found.uniform_s,
        "exchange_s": found.exchange_s,
        "blocks": [_block(block) for block in found.blocks],
    }


def _block(block: Block) -> dict[str, Any]:
    return {
        "sequences": block.sequences,
        "micro_batches": list(block.micro_batches),
        "tail": {
            "sequences": block.tail.sequences,
            "rounds": block.tail.rounds,
            "ranks": block.tail.ranks,
            "seconds": block.tail.seconds,
        },
        "iteration_s": block.seconds,
        "simulated_s": block.simulated_s,
        "stages": [_stages(stages) for stages in block.option.stages],
    }


def _stages(stages: Stages) -> dict[str, Any]:
    chip, count = stages.at.chip.name, stages.at.count
    plan = plan_dict(stages.plan) | {"pp": len(stages.layers)}
    return {"chip": chip, "chips": count, "layers": list(stages.layers), **plan}
