"""Which chips serve a load in time and for how much: replicas, their split, batch and numbers.

A replica holds as many sequences at once as memory and the wanted pace of tokens allow; so many
replicas are taken that they are busy for at most a share of their time. Prompts queue as M/D/1
(Kendall 1953; Pollaczek and Khinchine) before they are taken in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

import numpy as np
from numpy.typing import NDArray

from regatta.costs.tco import usd_per_million_tokens
from regatta.hardware.catalogue import GIB, Chip
from regatta.planning.serving import (
    QUANTIZATIONS,
    Quantization,
    Replica,
    cache_bytes,
    decode_s,
    max_batch,
    prefill_s,
    throughput,
    weight_bytes,
)
from regatta.planning.shapes import BadField, Shape
from regatta.planning.sizing import NoPlan, Offer, bases, pareto, positive, raised

SPLITS = (1, 2, 4, 8, 16, 32, 64)
WORTH = 0.05  # of the time of a request: what a dearer fleet must save to be listed
MOST_SEQUENCES = 2048  # per replica at once: what schedulers of today allow by themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be served. ttft_s: to the first token, itl_s: from token to token; means.

    quantizations: names that may be used; one that a chip does not compute in is passed over.
    busy: the largest share of its capacity that a replica is given. input_weight: what a prompt
    token counts in the cost per token, against 1 of an output token.
    Raises: BadField naming a field that is out of range.
    """

    shape: Shape
    requests_per_s: float
    prompt_tokens: float
    output_tokens: float
    ttft_s: float | None = None
    itl_s: float | None = None
    budget_usd_per_hour: float | None = None
    quantizations: tuple[str, ...] = ("bf16", "fp8")
    busy: float = 0.8
    input_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("requests_per_s", "prompt_tokens", "output_tokens"):
            positive(name, getattr(self, name))
        for name in ("ttft_s", "itl_s", "budget_usd_per_hour"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))
        positive("busy", self.busy, 1.0)
        if not 0 <= self.input_weight < inf:
            raise BadField("input_weight", f"{self.input_weight:g}; a number from 0 up is right")
        for name in self.quantizations:
            if name not in QUANTIZATIONS:
                raise BadField("quantization", f"{name!r} is none of {', '.join(QUANTIZATIONS)}")
        if not self.quantizations:
            raise BadField("quantization", f"name at least one of {', '.join(QUANTIZATIONS)}")

    @property
    def tokens_per_s(self) -> float:
        """Tokens that count in the cost, per second."""
        return self.requests_per_s * (self.output_tokens + self.input_weight * self.prompt_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """One way to serve the load. batch: sequences that a replica holds at once when full.

    itl_s is that of a full replica; ttft_s includes the wait for other prompts. busy: the share of
    capacity used. usd_per_mtok_full: what a million tokens would cost at full load.
    """

    chip: str
    basis: str
    usd_per_chip_hour: float
    replicas: int
    tp: int
    attention_dp: bool
    quantization: str
    batch: int
    ttft_s: float
    itl_s: float
    request_s: float
    busy: float
    usd_per_hour: float
    usd_per_mtok: float
    usd_per_mtok_full: float
    weight_gib: float
    capex_usd: float = 0.0

    @property
    def count(self) -> int:
        """Chips in all."""
        return self.replicas * self.tp


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """front: fleets, fastest first, that save WORTH of a request's time on any cheaper one."""

    options: tuple[Fleet, ...]
    front: tuple[Fleet, ...]
    cheapest: Fleet
    fastest: Fleet
    balanced: Fleet
    unpriced: tuple[str, ...] = ()
    misses: tuple[str, ...] = ()


def size_serving(load: Load, offers: Sequence[Offer]) -> Serving:
    """Every offer, split and number format, and the front of those that meet the targets.

    Raises: BadField if nothing is offered; NoPlan with the nearest miss.
    """
    if not offers:
        raise BadField("chips", "name at least one chip that may be used")
    unpriced = tuple(o.chip.name for o in offers if not o.has_price)
    if len(unpriced) == len(offers):
        raise NoPlan(f"price: none is known for {', '.join(unpriced)}; give one per chip and hour")
    misses: list[str] = []
    found = [fleet for offer in offers for fleet in _fleets(load, offer, misses)]
    if not found:
        nearest = "; ".join(misses) or "no chip computes in the formats named"
        raise NoPlan(f"no replica fits: {nearest}. More max_chips, or narrower numbers, would")
    good = [fleet for fleet in found if _excess(load, fleet) <= 1]
    if not good:
        raise _nothing_meets(load, min(found, key=lambda fleet: _excess(load, fleet)))
    front = pareto(good, time=lambda f: f.request_s, cost=lambda f: f.usd_per_hour, gain=WORTH)
    return Serving(
        options=tuple(good),
        front=front,
        cheapest=min(front, key=lambda fleet: fleet.usd_per_hour),
        fastest=min(front, key=lambda fleet: fleet.request_s),
        balanced=min(front, key=lambda fleet: fleet.usd_per_hour * fleet.request_s),
        unpriced=unpriced,
        misses=tuple(misses),
    )


def _fleets(load: Load, offer: Offer, misses: list[str]) -> Iterator[Fleet]:
    chip = offer.chip
    if offer.max_chips < 1:
        raise BadField("max_chips", f"{offer.max_chips} of {chip.name}; at least 1 is right")
    if offer.usd_per_hour is not None:
        positive("price", offer.usd_per_hour)
    elif offer.own is None:
        return
    smallest, served = "", False
    held: set[str] = set()
    for replica in _replicas(load, chip, offer.max_chips):
        if replica.tp > chip.domain_chips and replica.quantization.name in held:
            continue  # out of the fast links only when the model does not fit within
        context = load.prompt_tokens + load.output_tokens
        most = min(max_batch(replica, context), MOST_SEQUENCES)
        if most < 1:
            # One sequence and the weights have to do with the share that is theirs.
            used = weight_bytes(replica) + float(cache_bytes(replica, context))
            need = ceil(used / replica.constants.memory_share / GIB)
            room = chip.memory_bytes / GIB
            smallest = f"memory: {need} of {room:.0f} GiB on each of {replica.tp} {chip.name}"
            continue
        held.add(replica.quantization.name)
        for fleet in _loaded(load, offer, replica, _batches(most)):
            served = True
            yield fleet
    if smallest and not held:
        misses.append(smallest)
    elif held and not served:
        rate = f"{load.requests_per_s:g} requests/s"
        misses.append(f"max_chips: {offer.max_chips} {chip.name} cannot keep up with {rate}")


def _replicas(load: Load, chip: Chip, most: int) -> Iterator[Replica]:
    """Every way to hold the model; attention apart only where it saves cache."""
    shape = load.shape
    apart = (False, True) if float(shape.experts) or float(shape.kv_rank) else (False,)
    for name in load.quantizations:
        numbers = _served(chip, QUANTIZATIONS[name])
        if numbers is None:
            continue
        for tp in SPLITS:
            if tp > most or float(shape.heads) % tp:
                continue
            for attention_dp in apart if tp > 1 else (False,):
                yield Replica(
                    shape=shape, chip=chip, tp=tp, quantization=numbers, attention_dp=attention_dp
                )


def _served(chip: Chip, numbers: Quantization) -> Quantization | None:
    """The format as this chip computes it: fp16 where bf16 is wanted and missing, else none."""
    if numbers.dtype == "bf16" and "bf16" not in chip.peak_flops:
        name = "fp16" if numbers.name == "bf16" else numbers.name
        numbers = replace(numbers, name=name, dtype="fp16")
    return numbers if numbers.dtype in chip.peak_flops else None


def _batches(most: int) -> NDArray[np.float64]:
    doubled = [2.0**n for n in range(most.bit_length()) if 2**n < most]
    return np.array([*doubled, float(most)])


def _loaded(
    load: Load, offer: Offer, replica: Replica, batches: NDArray[np.float64]
) -> Iterator[Fleet]:
    """A fleet of such replicas for each batch, if the load can be queued and chips suffice."""
    rates, tokens = throughput(replica, batches, load.prompt_tokens, load.output_tokens)
    steps = decode_s(replica, batches, load.prompt_tokens + load.output_tokens / 2)
    prompt_s = float(prefill_s(replica, load.prompt_tokens))
    columns = np.broadcast_arrays(batches, rates, tokens, steps)
    for batch, rate, itl_s, step_s in zip(*(c.tolist() for c in columns), strict=True):
        replicas = ceil(load.requests_per_s / (rate * load.busy))
        each = load.requests_per_s / replicas
        queued = each * prompt_s
        if replicas * replica.tp > offer.max_chips or queued >= 1:
            continue
        ttft_s = step_s + prompt_s * (1 + queued / (2 * (1 - queued)))
        for basis, usd, capex in bases(offer, replicas * replica.tp):
            hourly = usd * replicas * replica.tp
            busy = each / rate
            cost = usd_per_million_tokens(hourly, load.tokens_per_s)
            yield Fleet(
                chip=offer.chip.name,
                basis=basis,
                usd_per_chip_hour=usd,
                replicas=replicas,
                tp=replica.tp,
                attention_dp=replica.attention_dp,
                quantization=replica.quantization.name,
                batch=int(batch),
                ttft_s=ttft_s,
                itl_s=itl_s,
                request_s=ttft_s + (load.output_tokens - 1) * itl_s,
                busy=busy,
                usd_per_hour=hourly,
                usd_per_mtok=cost,
                usd_per_mtok_full=cost * busy,
                weight_gib=weight_bytes(replica) / GIB,
                capex_usd=capex,
            )


def _excess(load: Load, fleet: Fleet) -> float:
    """By which factor the worst of the targets is missed; at most 1 when all are met."""
    return max(
        fleet.ttft_s / (load.ttft_s or inf),
        fleet.itl_s / (load.itl_s or inf),
        fleet.usd_per_hour / (load.budget_usd_per_hour or inf),
    )


def _nothing_meets(load: Load, near: Fleet) -> NoPlan:
    wanted = {
        "ttft_s": (load.ttft_s, near.ttft_s),
        "itl_s": (load.itl_s, near.itl_s),
        "budget_usd_per_hour": (load.budget_usd_per_hour, near.usd_per_hour),
    }
    missed = {
        name: (limit, value)
        for name, (limit, value) in wanted.items()
        if limit is not None and value > limit
    }
    advised = [f"{n} from {limit:g} to {raised(value)}" for n, (limit, value) in missed.items()]
    return NoPlan(
        f"nothing meets all targets; nearest is {near.replicas} x {near.tp} {near.chip} in "
        f"{near.quantization}: {near.ttft_s:.3g} s to the first token, {near.itl_s:.3g} s from "
        f"token to token, {near.usd_per_hour:.2f} USD/h. "
        f"Raise {' and '.join(advised)}, or allow other chips",
        near=near,
        lift={name: value for name, (_limit, value) in missed.items()},
    )
