"""What sizing found as data: the answers of `regatta plan size --json` and of the portal.

Their shape is documented in docs/reference/plan-size.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from regatta.costs.tco import Ownership, break_even_busy
from regatta.hardware.catalogue import GIB, Chip
from regatta.planning.export import megatron_args, torchtitan_toml
from regatta.planning.fleets import Fleet, Load, Serving
from regatta.planning.plans import DTYPES, Plan
from regatta.planning.search_answer import plan_dict
from regatta.planning.shapes import SHOWN, BadField, Shape, parameters
from regatta.planning.sizing import Offer, Option, Sizing, Training

UNKNOWN_POWER_W = 500.0  # of a chip whose TDP nobody publishes


def training_answer(
    request: Training, offers: Sequence[Offer], sized: Sizing, *, start: datetime | None = None
) -> dict[str, Any]:
    """start: from which the dates of finishing count, if they are wanted."""
    shape = request.shape
    prices = _prices(offers, {option.chip for option in sized.front})

    def line(option: Option, *, launch: bool = False) -> dict[str, Any]:
        told = _option(option, request, start, prices[option.chip]["usd_per_hour"])
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


def serving_answer(load: Load, offers: Sequence[Offer], sized: Serving) -> dict[str, Any]:
    """The front of fleets, and the picks of it."""
    prices = _prices(offers, {fleet.chip for fleet in sized.front})

    def line(fleet: Fleet) -> dict[str, Any]:
        told = asdict(fleet) | {"count": fleet.count}
        rent_usd = prices[fleet.chip]["usd_per_hour"]
        even = _break_even(fleet.basis, fleet.usd_per_chip_hour, rent_usd)
        return told | {"break_even_busy": even}

    return {
        "kind": "serving",
        "request": {
            "parameters": float(parameters(load.shape)),
            "requests_per_s": load.requests_per_s,
            "prompt_tokens": load.prompt_tokens,
            "output_tokens": load.output_tokens,
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


def ownership(chip: Chip, terms: Mapping[str, Any]) -> Ownership | None:
    """The terms for this chip, if its purchase price is known. Raises: BadField, ValueError."""
    known = [field.name for field in fields(Ownership)]
    if unknown := sorted(set(terms) - set(known)):
        raise BadField(unknown[0], f"unknown; terms of owning are {', '.join(known)}")
    price = terms.get("chip_usd", chip.purchase_usd)
    if price is None:
        return None
    power = terms.get("chip_w", chip.tdp_w or UNKNOWN_POWER_W)
    numbers = {name: number(name, value) for name, value in terms.items()}
    return Ownership(**{**numbers, "chip_usd": float(price), "chip_w": float(power)})


def _finish(start: datetime, days: float) -> str:
    """The day of the end. Raises: BadField where no calendar reaches it."""
    try:
        return (start + timedelta(days=days)).date().isoformat()
    except OverflowError:
        wrong = f"{start.date()} and {days:.3g} days end after the year 9999; fewer are right"
        raise BadField("start", wrong) from None


def number(name: str, value: object) -> float:
    """Raises: BadField."""
    if isinstance(value, bool):
        raise BadField(name, f"{value!r} is no number")
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise BadField(name, f"{repr(value)[:SHOWN]} is no number") from None


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
    return {
        "chip": option.chip,
        "count": option.count,
        "basis": option.basis,
        "usd_per_chip_hour": option.usd_per_chip_hour,
        "days": option.days,
        "finish": _finish(start, option.days) if start else None,
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
    return plan_dict(plan) | {
        "global_batch": int(plan.global_batch),
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
