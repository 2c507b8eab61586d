"""`regatta plan mixed`: what it does, apart from its options in plan_search."""

from __future__ import annotations

from time import perf_counter

import typer

from regatta.cli.plan_search import Asked
from regatta.cli.plan_search_answer import as_json, guarded, limits, read
from regatta.planning.mixed import Mixed, plan_mixed
from regatta.planning.mixed_answer import as_dict

LOSSES = {
    "waiting": "blocks that are done before the slowest",
    "fewer_micro_batches": "bubble, optimizer and own gradients over fewer micro-batches",
    "unlike_stages": "pipelines over unlike chips: whole layers, bubble, slow links",
    "exchange": "gradients between kinds",
}


def run(asked: Asked) -> int:
    """Print the fastest plan over all chips of a cluster."""

    def answer() -> None:
        start = perf_counter()
        shape, cluster = read(asked)
        found = plan_mixed(shape, cluster, asked.global_batch, limits(asked))
        seconds = perf_counter() - start
        typer.echo(as_json(as_dict(found, seconds)) if asked.as_json else _sentences(found))

    return guarded(answer, json_too=asked.as_json)


def _sentences(found: Mixed) -> str:
    lines = [f"{found.iteration_s:.4g} s a step ({found.simulated_s:.4g} s simulated)"]
    if found.efficiency:
        lines[0] += f", efficiency {found.efficiency:.1%}"
    if found.uniform_s:
        gain = found.uniform_s / found.iteration_s
        lines[0] += f", {gain:.2f} x the best plan that treats all chips alike"
    for block in found.blocks:
        lines.append(f"{block.sequences} sequences in {block.seconds:.4g} s:")
        for stages in block.option.stages:
            plan = stages.plan
            lines.append(
                f"    {stages.at.count} x {stages.at.chip.name}: tp {plan.tp:g} "
                f"pp {len(stages.layers)} dp {plan.dp:g} cp {plan.cp:g} "
                f"micro_batch {plan.micro_batch:g}, layers {stages.layers}"
            )
        if block.tail.rounds:
            spread = f"each over {block.tail.ranks} replicas" if block.tail.ranks > 1 else "alone"
            lines.append(f"    {block.tail.sequences} of them at the end, {spread}")
    lines += [f"lost {part:.1%}: {LOSSES[name]}" for name, part in found.losses.items()]
    return "\n".join(lines)
