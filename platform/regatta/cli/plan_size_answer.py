"""`regatta plan size`: reads what is asked, sizes it, and prints the front."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import typer

from regatta.cli.plan_size import Asked
from regatta.costs.tco import Ownership, break_even_busy
from regatta.hardware.catalogue import GIB, Chip, catalogue, find
from regatta.planning.export import megatron_args, torchtitan_toml
from regatta.planning.fleets import Fleet, Load, Serving, size_serving
from regatta.planning.hf import read_model
from regatta.planning.plans import DTYPES, RECOMPUTE, Plan
from regatta.planning.shapes import BadField, Shape, parameters
from regatta.planning.sizing import NoPlan, Offer, Option, Sizing, Training, size_training

NOTHING_FITS, USAGE = 1, 2
BATCH_TOKENS = 4e6  # of a step in pre-training: Llama 2 used 4 million
FINE_TUNING_BATCH = 64
UNKNOWN_POWER_W = 500.0  # of a chip whose TDP nobody publishes


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
    shape = read_model(_json(asked.model), seq_len=asked.seq_len)
    request = Training(
        shape=shape,
        tokens=_tokens(asked, shape),
        global_batch=_global_batch(asked, shape),
        deadline_days=asked.deadline_days,
        budget_usd=asked.budget_usd,
        dtype=asked.dtype,
        storage_Bps=asked.storage_gbps * 1e9,
        recovery_s=asked.recovery_s,
        frozen=asked.lora,
    )
    offers = _offers(asked)
    sized: Sizing = size_training(request, offers)
    prices = _prices(offers, {option.chip for option in sized.front})

    def line(option: Option, *, launch: bool = False) -> dict[str, Any]:
        told = _option(option, request, asked.start, prices[option.chip]["usd_per_hour"])
        return told | ({"launch": _launch(shape, option.best.plan)} if launch else {})

    return {
        "kind": "training",
        "request": {
            "parameters": float(parameters(shape)),
            "tokens": request.tokens,
            "seq_len": float(shape.seq_len),
            "global_batch": request.global_batch,
            "dtype": request.dtype,
            "deadline_days": request.deadline_days,
            "budget_usd": request.budget_usd,
        },
        "options": len(sized.options),
        "front": [line(option) for option in sized.front],
        "cheapest": line(sized.cheapest, launch=True),
        "fastest": line(sized.fastest, launch=True),
        "balanced": line(sized.balanced, launch=True),
        "prices": prices,
        "unpriced": list(sized.unpriced),
        "misses": sized.misses,
    }


def _serving(asked: Asked) -> dict[str, Any]:
    needed = ("requests_per_s", "prompt_tokens", "output_tokens")
    for name in needed:
        if getattr(asked, name) is None:
            raise BadField(name, "is missing; --serve needs a number above 0")
    rates = {name: getattr(asked, name) for name in needed}
    length = rates["prompt_tokens"] + rates["output_tokens"]
    shape = read_model(_json(asked.model), seq_len=max(length, 1.0))
    formats = {"quantizations": tuple(asked.quantization)} if asked.quantization else {}
    load = Load(
        **{"shape": shape, **rates, **formats},
        ttft_s=asked.ttft_s,
        itl_s=asked.itl_s,
        budget_usd_per_hour=asked.budget_usd,
        input_weight=asked.input_weight,
    )
    offers = _offers(asked)
    sized: Serving = size_serving(load, offers)
    prices = _prices(offers, {fleet.chip for fleet in sized.front})

    def line(fleet: Fleet) -> dict[str, Any]:
        told = asdict(fleet) | {"count": fleet.count}
        rent_usd = prices[fleet.chip]["usd_per_hour"]
        even = _break_even(fleet.basis, fleet.usd_per_chip_hour, rent_usd)
        return told | {"break_even_busy": even}

    return {
        "kind": "serving",
        "request": {
            "parameters": float(parameters(shape)),
            **rates,
            "ttft_s": load.ttft_s,
            "itl_s": load.itl_s,
            "budget_usd_per_hour": load.budget_usd_per_hour,
            "input_weight": load.input_weight,
        },
        "options": len(sized.options),
        "front": [line(fleet) for fleet in sized.front],
        "cheapest": line(sized.cheapest),
        "fastest": line(sized.fastest),
        "balanced": line(sized.balanced),
        "prices": prices,
        "unpriced": list(sized.unpriced),
        "misses": list(sized.misses),
    }


def _tokens(asked: Asked, shape: Shape) -> float:
    if (asked.tokens is None) == (asked.samples is None):
        raise BadField("tokens", "give either --tokens, or --samples to fine-tune on")
    if asked.tokens is not None:
        return asked.tokens
    return (asked.samples or 0.0) * asked.epochs * float(shape.seq_len)


def _global_batch(asked: Asked, shape: Shape) -> int:
    if asked.global_batch is not None:
        return asked.global_batch
    if asked.samples is not None:
        return FINE_TUNING_BATCH
    return 1 << max(0, round(BATCH_TOKENS / float(shape.seq_len)).bit_length() - 1)


def _offers(asked: Asked) -> list[Offer]:
    """The chips named, at the price named or the catalogue's; none named are all with a price."""
    terms = dict(_json(asked.own_terms)) if asked.own_terms else {}
    if unknown := sorted(set(terms) - {field.name for field in fields(Ownership)}):
        names = ", ".join(field.name for field in fields(Ownership))
        raise BadField(unknown[0], f"unknown; terms of owning are {names}")
    chips: list[tuple[Chip, float | None]] = []
    for word in asked.chip or ():
        name, equals, price = word.partition("=")
        chip = find(name)
        chips.append((chip, _number("chip", price) if equals else chip.price_usd_per_hour))
    for chip in () if asked.chip else catalogue().values():
        if chip.price_usd_per_hour is not None:
            chips.append((chip, chip.price_usd_per_hour))
    return [
        Offer(
            chip=chip,
            usd_per_hour=usd,
            own=_ownership(chip, terms) if asked.own or asked.own_terms else None,
            max_chips=asked.max_chips,
        )
        for chip, usd in chips
    ]


def _ownership(chip: Chip, terms: Mapping[str, float]) -> Ownership | None:
    """The terms for this chip, if its purchase price is known."""
    price = terms.get("chip_usd", chip.purchase_usd)
    if price is None:
        return None
    power = terms.get("chip_w", chip.tdp_w or UNKNOWN_POWER_W)
    numbers = {name: _number(name, value) for name, value in terms.items()}
    return Ownership(**{**numbers, "chip_usd": float(price), "chip_w": float(power)})


def _prices(offers: Sequence[Offer], names: set[str]) -> dict[str, dict[str, Any]]:
    """What these chips were priced by: a figure of the catalogue with its source, or given."""
    told: dict[str, dict[str, Any]] = {}
    for offer in offers:
        figure = offer.chip.figures.get("price_usd_per_hour")
        if offer.chip.name not in names:
            continue
        if figure is None or figure.value != offer.usd_per_hour:
            known: dict[str, Any] = {"year": None, "quality": "given", "source": ""}
        else:
            known = {"year": figure.year, "quality": figure.quality, "source": figure.source}
        told[offer.chip.name] = {"usd_per_hour": offer.usd_per_hour, **known}
    return told


def _option(
    option: Option, request: Training, start: datetime | None, rent_usd: float | None
) -> dict[str, Any]:
    one, kept = option.best, option.goodput
    finish = (start + timedelta(days=option.days)).date().isoformat() if start else None
    return {
        "chip": option.chip,
        "count": option.count,
        "basis": option.basis,
        "usd_per_chip_hour": option.usd_per_chip_hour,
        "days": option.days,
        "finish": finish,
        "cost_usd": option.cost_usd,
        "usd_per_mtok": option.cost_usd / request.tokens * 1e6,
        "capex_usd": option.capex_usd,
        "break_even_busy": _break_even(option.basis, option.usd_per_chip_hour, rent_usd),
        "iteration_s": one.iteration_s,
        "tokens_per_s": option.tokens_per_s,
        "mfu": one.mfu,
        "peak_memory_gib": one.peak_bytes / GIB,
        "goodput": kept.share,
        "interruptions": option.interruptions,
        "mtti_h": kept.mtti_s / 3600,
        "checkpoint_interval_s": kept.interval_s,
        "checkpoint_save_s": kept.save_s,
        "plan": _plan(one.plan),
        "breakdown": one.breakdown,
    }


def _plan(plan: Plan) -> dict[str, Any]:
    degrees = ("tp", "pp", "vpp", "dp", "cp", "ep", "etp", "zero_stage")
    return {name: int(getattr(plan, name)) for name in degrees} | {
        "micro_batch": int(plan.micro_batch),
        "global_batch": int(plan.global_batch),
        "sequence_parallel": bool(plan.sequence_parallel),
        "recompute": RECOMPUTE[int(plan.recompute)],
        "dtype": DTYPES[int(plan.dtype)],
    }


def _launch(shape: Shape, plan: Plan) -> dict[str, str]:
    """How to start it elsewhere; what a program cannot do stands in the place of its arguments."""
    told: dict[str, str] = {}
    for name, write in (("megatron-lm", megatron_args), ("torchtitan", torchtitan_toml)):
        try:
            written = write(shape, plan)
        except BadField as error:
            told[name] = f"# {error}"
        else:
            told[name] = written if isinstance(written, str) else " ".join(written)
    return told


def _break_even(basis: str, own_usd: float, rent_usd: float | None) -> float | None:
    return break_even_busy(own_usd, rent_usd) if basis == "own" and rent_usd else None


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadField(str(path), f"is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadField(str(path), "a JSON object is right")
    return found


def _number(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise BadField(name, f"{value!r} is no number") from None


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
