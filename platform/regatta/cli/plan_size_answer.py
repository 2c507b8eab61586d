"""`regatta plan size`: reads what is asked, sizes it, and prints the front."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from regatta.cli.input_file import read_object
from regatta.cli.plan_size import Asked
from regatta.hardware.catalogue import Chip, catalogue, find
from regatta.planning.fleets import Load, size_serving
from regatta.planning.hf import read_model
from regatta.planning.shapes import BadField, Shape
from regatta.planning.sizing import NoPlan, Offer, Training, size_training, usual_batch
from regatta.planning.sizing_answer import number, ownership, serving_answer, training_answer

NOTHING_FITS, USAGE = 1, 2


def run(asked: Asked) -> int:
    """Print the front. Exit code 2 for what cannot be meant, 1 when nothing fits."""
    try:
        answer = _serving(asked) if asked.serve else _training(asked)
    except NoPlan as error:
        typer.echo(str(error), err=True)
        return NOTHING_FITS
    except (OSError, ValueError) as error:  # BadField, UnknownChip and bad JSON among them
        typer.echo(str(error), err=True)
        return USAGE
    typer.echo(json.dumps(answer, allow_nan=False) if asked.as_json else _sentences(answer))
    return 0


def _training(asked: Asked) -> dict[str, Any]:
    shape = read_model(read_object(asked.model), seq_len=asked.seq_len)
    batch = asked.global_batch
    if batch is None:
        batch = usual_batch(shape, fine_tuning=asked.samples is not None)
    request = Training(
        shape=shape,
        tokens=_tokens(asked, shape),
        global_batch=batch,
        deadline_days=asked.deadline_days,
        budget_usd=asked.budget_usd,
        dtype=asked.dtype,
        storage_Bps=None if asked.storage_gbps is None else asked.storage_gbps * 1e9,
        recovery_s=asked.recovery_s,
        frozen=asked.lora,
    )
    offers = _offers(asked)
    return training_answer(request, offers, size_training(request, offers), start=asked.start)


def _serving(asked: Asked) -> dict[str, Any]:
    needed = ("requests_per_s", "prompt_tokens", "output_tokens")
    for name in needed:
        if getattr(asked, name) is None:
            raise BadField(name, "is missing; --serve needs a number above 0")
    rates = {name: getattr(asked, name) for name in needed}
    length = rates["prompt_tokens"] + rates["output_tokens"]
    shape = read_model(read_object(asked.model), seq_len=max(length, 1.0))
    formats = {"quantizations": tuple(asked.quantization)} if asked.quantization else {}
    load = Load(
        **{"shape": shape, **rates, **formats},
        ttft_s=asked.ttft_s,
        itl_s=asked.itl_s,
        budget_usd_per_hour=asked.budget_usd,
        input_weight=asked.input_weight,
    )
    offers = _offers(asked)
    return serving_answer(load, offers, size_serving(load, offers))


def _tokens(asked: Asked, shape: Shape) -> float:
    if (asked.tokens is None) == (asked.samples is None):
        raise BadField("tokens", "give either --tokens, or --samples to fine-tune on")
    if asked.tokens is not None:
        return asked.tokens
    return (asked.samples or 0.0) * asked.epochs * float(shape.seq_len)


def _offers(asked: Asked) -> list[Offer]:
    """The chips named, at the price named or the catalogue's; none named are all with a price."""
    terms = dict(read_object(asked.own_terms)) if asked.own_terms else {}
    chips: list[tuple[Chip, float | None]] = []
    for word in asked.chip or ():
        name, equals, price = word.partition("=")
        chip = find(name)
        if any(chip is there for there, _ in chips):
            raise BadField("chip", f"{name} is {chip.name}, which is there already")
        chips.append((chip, number("chip", price) if equals else chip.price_usd_per_hour))
    for chip in () if asked.chip else catalogue().values():
        if chip.price_usd_per_hour is not None:
            chips.append((chip, chip.price_usd_per_hour))
    return [
        Offer(
            chip=chip,
            usd_per_hour=usd,
            own=ownership(chip, terms) if asked.own or asked.own_terms else None,
            max_chips=asked.max_chips,
        )
        for chip, usd in chips
    ]


def _sentences(answer: Mapping[str, Any]) -> str:
    line = _training_line if answer["kind"] == "training" else _serving_line
    picks = [f"{name:9} {line(answer[name])}" for name in ("cheapest", "balanced", "fastest")]
    front = [f"          {line(entry)}" for entry in answer["front"]]
    left_out = answer["unpriced"]
    missing = [f"no price known for {', '.join(left_out)}"] if left_out else []
    return "\n".join(
        [*picks, f"front, fastest first, of {answer['options']} options:", *front, *missing]
    )


def _training_line(entry: Mapping[str, Any]) -> str:
    when = entry["finish"] or f"{entry['days']:.1f} days"
    return (
        f"{entry['count']} {entry['chip']} ({entry['basis']}): {when}, "
        f"{entry['cost_usd']:,.0f} USD, goodput {entry['goodput']:.1%}, "
        f"{entry['interruptions']:.1f} interruptions"
    )


def _serving_line(entry: Mapping[str, Any]) -> str:
    return (
        f"{entry['replicas']} x {entry['tp']} {entry['chip']} in {entry['quantization']} "
        f"({entry['basis']}): {entry['usd_per_hour']:.2f} USD/h, "
        f"{entry['usd_per_mtok']:.3g} USD per million tokens, "
        f"{entry['ttft_s']:.2f} s to the first token, {entry['itl_s'] * 1000:.0f} ms to the next"
    )
