"""`regatta plan size`: its options. What it does, plan_size_answer, is loaded when called."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: regatta plan size --model config.json --seq-len 8192 --tokens 1e12 --json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of the command, as they were given."""

    model: Path
    seq_len: int | None
    tokens: float | None
    samples: float | None
    epochs: float
    lora: bool
    global_batch: int | None
    dtype: str
    chip: list[str] | None
    max_chips: int
    deadline_days: float | None
    budget_usd: float | None
    start: datetime | None
    storage_gbps: float | None
    recovery_s: float
    own: bool
    own_terms: Path | None
    serve: bool
    requests_per_s: float | None
    prompt_tokens: float | None
    output_tokens: float | None
    ttft_s: float | None
    itl_s: float | None
    quantization: list[str] | None
    input_weight: float
    as_json: bool


def size(  # noqa: PLR0913 - the options of a command
    model: Annotated[
        Path, typer.Option(help="A config.json of Hugging Face, or the columns of a run as JSON.")
    ],
    seq_len: Annotated[int | None, typer.Option(help="Tokens of one sequence.")] = None,
    tokens: Annotated[float | None, typer.Option(help="To train on, as 1e12.")] = None,
    samples: Annotated[
        float | None, typer.Option(help="To fine-tune on, each seq-len tokens long.")
    ] = None,
    epochs: Annotated[float, typer.Option(help="How often samples are seen.")] = 1.0,
    lora: Annotated[bool, typer.Option("--lora", help="Train adapters only.")] = False,
    global_batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2**30,
            help="Sequences a step; by itself about 4 million tokens, or 64 samples.",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="bf16, fp16, fp8, mxfp8, fp4 or fp32.")] = "bf16",
    chip: Annotated[
        list[str] | None,
        typer.Option(help="NAME or NAME=USD_PER_HOUR, repeated; by itself all with a price."),
    ] = None,
    max_chips: Annotated[int, typer.Option(max=2**24, help="The most of one kind.")] = 4096,
    deadline_days: Annotated[float | None, typer.Option(help="To be finished by then.")] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="For the training; per hour with --serve.")
    ] = None,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of the start, for dates.")
    ] = None,
    storage_gbps: Annotated[
        float | None,
        typer.Option("--storage-GBps", help="That writes checkpoints; by itself 1 GB/s a node."),
    ] = None,
    recovery_s: Annotated[
        float, typer.Option(help="From a failure to the first new step.")
    ] = 600.0,
    own: Annotated[
        bool, typer.Option("--own", help="Owned chips too, where a purchase price is known.")
    ] = False,
    own_terms: Annotated[
        Path | None, typer.Option(help="JSON of the terms of owning, as {'kwh_usd': 0.08}.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Size inference, not training.")] = False,
    requests_per_s: Annotated[float | None, typer.Option(help="With --serve.")] = None,
    prompt_tokens: Annotated[float | None, typer.Option(help="With --serve.")] = None,
    output_tokens: Annotated[float | None, typer.Option(help="With --serve.")] = None,
    ttft_s: Annotated[
        float | None, typer.Option(help="With --serve: to the first token, at most.")
    ] = None,
    itl_s: Annotated[
        float | None, typer.Option(help="With --serve: from token to token, at most.")
    ] = None,
    quantization: Annotated[
        list[str] | None,
        typer.Option(help="With --serve, repeated: bf16, fp8, w8a8, w4a16, fp4."),
    ] = None,
    input_weight: Annotated[
        float, typer.Option(help="With --serve: what a prompt token counts in the cost.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """List which chips, how many, by when and for how much: to train, or to serve a model."""
    asked = Asked(**locals())
    raise typer.Exit(import_module("regatta.cli.plan_size_answer").run(asked))
