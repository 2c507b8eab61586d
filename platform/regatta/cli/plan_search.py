"""`regatta plan search` and `plan mixed`: their options. What they do is loaded when called."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

FILES = "--model config.json --cluster cluster.json --global-batch 1024 --seq-len 8192 --json"
SEARCH, MIXED = f"Example: regatta plan search {FILES}", f"Example: regatta plan mixed {FILES}"

Model = Annotated[
    Path, typer.Option(help="A config.json of Hugging Face, or the columns of a run as JSON.")
]
Where = Annotated[
    Path, typer.Option(help='JSON: {"chips": {"A100-80GB": 4096}, "chips_per_node": 8}.')
]
Batch = Annotated[int, typer.Option(min=1, max=2**30, help="Sequences of one step.")]
SeqLen = Annotated[int | None, typer.Option(min=1, help="Tokens of one sequence.")]
Fix = Annotated[
    list[str] | None,
    typer.Option(help="Allowed values, repeated: tp=8, recompute=none,selective, zero_stage=1."),
]
Headroom = Annotated[float, typer.Option(help="Share of a chip's memory to leave free, 0 to 1.")]
Dtype = Annotated[str, typer.Option(help="bf16, fp16, fp8, mxfp8, fp4 or fp32.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of both commands, as they were given; top is of `search` alone."""

    model: Path
    cluster: Path
    global_batch: int
    seq_len: int | None
    fix: list[str] | None
    headroom: float
    dtype: str
    as_json: bool
    top: int = 1


def search(  # noqa: PLR0913 - the options of a command
    model: Model,
    cluster: Where,
    global_batch: Batch,
    seq_len: SeqLen = None,
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many plans to show.")] = 5,
    fix: Fix = None,
    headroom: Headroom = 0.0,
    dtype: Dtype = "bf16",
    as_json: AsJson = False,
) -> None:
    """Find the fastest plans for a model on chips of one kind, among all that are valid."""
    asked = Asked(**locals())
    raise typer.Exit(import_module("regatta.cli.plan_search_answer").run(asked))


def mixed(  # noqa: PLR0913 - the options of a command
    model: Model,
    cluster: Where,
    global_batch: Batch,
    seq_len: SeqLen = None,
    fix: Fix = None,
    headroom: Headroom = 0.0,
    dtype: Dtype = "bf16",
    as_json: AsJson = False,
) -> None:
    """Find the fastest plan for a model on chips of several kinds as one cluster."""
    asked = Asked(**locals())
    raise typer.Exit(import_module("regatta.cli.plan_mixed_answer").run(asked))
