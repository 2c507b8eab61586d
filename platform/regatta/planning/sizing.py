"""Which chips, how many, by when and for how much: a training as a Pareto front of cost and date.

For each kind of chip and count the best of all plans gives tokens a second; the rate of failures,
the time of a checkpoint and of a recovery give the share of it that is kept; prices give the cost,
rented and owned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, inf, log10
from typing import TypeVar

from regatta.costs.tco import Ownership, tco
from regatta.hardware.catalogue import Chip, NoPeak
from regatta.hardware.clusters import Cluster
from regatta.planning.goodput import STATE_BYTES_PER_WEIGHT, Goodput, goodput
from regatta.planning.plans import DTYPES
from regatta.planning.ranking import Ranked
from regatta.planning.search import Limits, NothingFits, search, site
from regatta.planning.shapes import BadField, Shape, parameters

RECOVER = "they recover; a shorter recovery_s, faster storage or fewer chips would do"

T = TypeVar("T")

BATCH_TOKENS = 2**22  # of a step in pre-training: Llama 2 used 4 million
FINE_TUNING_BATCH = 64
# Assumed of the storage per node, for checkpoints: Llama 3 had 2 TB/s for 16,384 GPUs in 2,048
# nodes (Grattafiori 2024, section 3.3.1). A large cluster is not built with a small one's storage.
NODE_STORAGE_BPS = 1e9
RECOVERY_S = 600.0  # assumed, from a failure to the first new step
FROZEN_STATE_BYTES_PER_WEIGHT = 0.3  # adapters of 2 % of the weights with their states


class NoPlan(ValueError):
    """Nothing meets the request; the message has the nearest miss and what would make it fit.

    near: the Option or Fleet that misses by the smallest factor, where anything fits at all.
    lift: limits that it exceeds, by name, with the value that would do.
    """

    def __init__(
        self, message: str, *, near: object = None, lift: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(message)
        self.near, self.lift = near, dict(lift or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A kind of chip that may be used: for rent at a price, on own terms, or both.

    counts: how many one may take; empty for one node and its doublings up to max_chips.
    """

    chip: Chip
    usd_per_hour: float | None = None
    own: Ownership | None = None
    max_chips: int = 4096
    counts: tuple[int, ...] = ()

    @property
    def has_price(self) -> bool:
        """Whether anything can be said of its cost."""
        return self.usd_per_hour is not None or self.own is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is to be trained, by when and for how much.

    global_batch: sequences a step. storage_Bps: of one checkpoint's writing, all chips together;
    by itself NODE_STORAGE_BPS for each node.
    recovery_s: from a failure to the first new step. frozen: only adapters are trained.
    Raises: BadField naming a field that is not above 0, or an unknown dtype.
    """

    shape: Shape
    tokens: float
    global_batch: int
    deadline_days: float | None = None
    budget_usd: float | None = None
    dtype: str = "bf16"
    storage_Bps: float | None = None
    recovery_s: float = RECOVERY_S
    frozen: bool = False

    def __post_init__(self) -> None:
        for name in ("tokens", "global_batch", "recovery_s"):
            positive(name, getattr(self, name))
        for name in ("deadline_days", "budget_usd", "storage_Bps"):
            if (value := getattr(self, name)) is not None:
                positive(name, value)
        if self.dtype not in DTYPES:
            raise BadField("dtype", f"{self.dtype!r} is none of {', '.join(DTYPES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to do it. basis: `rent` or `own`; days from start to finish, failures included."""

    chip: str
    count: int
    basis: str
    usd_per_chip_hour: float
    best: Ranked
    goodput: Goodput
    tokens_per_s: float
    interruptions: float
    days: float
    cost_usd: float
    capex_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """The fastest plan by count of one kind of chip. miss: why there is none; lack: times the
    memory of a chip that the nearest plan would need, infinity where it is not memory that lacks.
    """

    best: tuple[tuple[int, Ranked], ...] = ()
    lack: float = 0.0
    miss: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Options of one kind of chip, or why there is none; lack and miss as in Searched."""

    options: tuple[Option, ...]
    lack: float
    miss: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """front: options that no other beats on both cost and date, fastest first.

    balanced: of these, the least product of cost and days. unpriced: chips left out for want of a
    price. misses: why a chip has no option at all, by its name.
    """

    options: tuple[Option, ...]
    front: tuple[Option, ...]
    cheapest: Option
    fastest: Option
    balanced: Option
    unpriced: tuple[str, ...] = ()
    misses: dict[str, str] = field(default_factory=dict)


def usual_batch(shape: Shape, *, fine_tuning: bool) -> int:
    """Sequences a step where nobody says: about 4 million tokens, or 64 samples."""
    if fine_tuning:
        return FINE_TUNING_BATCH
    return 1 << max(0, int(BATCH_TOKENS / float(shape.seq_len)).bit_length() - 1)


def size_training(request: Training, offers: Sequence[Offer]) -> Sizing:
    """Every offer at every count, and the front of those that meet deadline and budget.

    Raises: BadField if nothing is offered or a price is not above 0; NoPlan if nothing fits, or
    nothing is in time and within the budget.
    """
    found = [searched(request, o) if o.has_price else Searched() for o in offers]
    return chosen(request, offers, found)


def searched(request: Training, offer: Offer) -> Searched:
    """The best plan at each count, whatever the price: of all this takes the time.

    Counts go down: what fits on none of so many chips fits on no divisor of them either.
    """
    best: list[tuple[int, Ranked]] = []
    why: list[tuple[float, str]] = []
    too_many = 0
    for count in sorted(counts(offer), reverse=True):
        if too_many and too_many % count == 0:
            continue
        try:
            best.append((count, _best(request, offer.chip, count)))
        except NothingFits as error:
            why.append((error.peak_bytes / offer.chip.memory_bytes, str(error)))
            too_many = count
        except (BadField, NoPeak) as error:
            why.append((inf, str(error)))
    lack, miss = (0.0, "") if best else min(why)
    return Searched(best=tuple(best), lack=lack, miss=miss)


def chosen(request: Training, offers: Sequence[Offer], found: Sequence[Searched]) -> Sizing:
    """The front of what was found, an entry per offer, at its prices.

    Raises: as size_training.
    """
    if not offers:
        raise BadField("chips", "name at least one chip that may be used")
    ways = [_found(request, offer, one) for offer, one in zip(offers, found, strict=True)]
    unpriced = tuple(o.chip.name for o in offers if not o.has_price)
    misses = {offer.chip.name: way for offer, way in zip(offers, ways, strict=True) if way.miss}
    every = [option for way in ways for option in way.options]
    if not every:
        raise NoPlan(_nothing_fits(offers, unpriced, misses))
    in_time = [option for option in every if _meets(request, option)]
    if not in_time:
        raise _nothing_meets(request, every)
    front = pareto(in_time, time=lambda o: o.days, cost=lambda o: o.cost_usd)
    return Sizing(
        options=tuple(in_time),
        front=front,
        cheapest=min(front, key=lambda option: option.cost_usd),
        fastest=min(front, key=lambda option: option.days),
        balanced=min(front, key=lambda option: option.cost_usd * option.days),
        unpriced=unpriced,
        misses={name: way.miss for name, way in misses.items()},
    )


def pareto(
    options: Iterable[T],
    *,
    time: Callable[[T], float],
    cost: Callable[[T], float],
    gain: float = 0.0,
) -> tuple[T, ...]:
    """Options, fastest first, each cheaper than all that are faster.

    gain: the share of time by which a dearer option must be faster to be worth its place.
    """
    front: list[T] = []
    for option in sorted(options, key=lambda option: (cost(option), time(option))):
        if not front or time(option) < time(front[-1]) * (1 - gain):
            front.append(option)
    return tuple(reversed(front))


def counts(offer: Offer) -> Iterator[int]:
    """One node, its doublings, and the most one may take if that is whole nodes.

    Raises: BadField if not even one chip may be taken.
    """
    if offer.counts:
        yield from offer.counts
        return
    most = offer.max_chips
    if most < 1:
        raise BadField("max_chips", f"{most} of {offer.chip.name}; at least 1 is right")
    count = min(offer.chip.chips_per_node, most)
    while count < most:
        yield count
        count *= 2
    yield most


def _found(request: Training, offer: Offer, plans: Searched) -> Found:
    """Every way with one kind of chip, whatever its cost and date. Raises: BadField."""
    if offer.usd_per_hour is not None:
        positive("price", offer.usd_per_hour)
    options: list[Option] = []
    fails = ""
    for count, best in plans.best:
        kept = left_over(request, offer.chip, count)
        if kept.share:
            options += _priced(request, offer, count, best, kept)
        else:
            fails = f"goodput: {count} {offer.chip.name} fail faster than {RECOVER}"
    if fails and not options:
        return Found(options=(), lack=inf, miss=fails)
    return Found(options=tuple(options), lack=plans.lack, miss=plans.miss)


def _best(request: Training, chip: Chip, count: int) -> Ranked:
    """The fastest plan that fits. Raises: BadField, NoPeak, NothingFits."""
    chip.peak("fp8" if request.dtype == "mxfp8" else request.dtype)
    limits = Limits(dtype=float(DTYPES.index(request.dtype)), frozen=float(request.frozen))
    at = site(Cluster(chips=((chip, count),)))
    return search(request.shape, at, request.global_batch, limits=limits, top=1).plans[0]


def left_over(request: Training, chip: Chip, count: int) -> Goodput:
    """What failures leave: a checkpoint is all states, written at the storage's pace."""
    per_weight = FROZEN_STATE_BYTES_PER_WEIGHT if request.frozen else STATE_BYTES_PER_WEIGHT
    storage_Bps = request.storage_Bps or NODE_STORAGE_BPS * ceil(count / chip.chips_per_node)
    save_s = per_weight * float(parameters(request.shape)) / storage_Bps
    return goodput(chips=count, mtbf_h=chip.mtbf_h, save_s=save_s, recovery_s=request.recovery_s)


def _priced(
    request: Training, offer: Offer, count: int, best: Ranked, kept: Goodput
) -> Iterator[Option]:
    tokens_per_s = request.global_batch * float(request.shape.seq_len) / best.iteration_s
    seconds = request.tokens / tokens_per_s / kept.share
    for basis, usd, capex in bases(offer, count):
        yield Option(
            chip=offer.chip.name,
            count=count,
            basis=basis,
            usd_per_chip_hour=usd,
            best=best,
            goodput=kept,
            tokens_per_s=tokens_per_s,
            interruptions=seconds / kept.mtti_s,
            days=seconds / 86_400,
            cost_usd=count * usd * seconds / 3600,
            capex_usd=capex,
        )


def bases(offer: Offer, count: int) -> Iterator[tuple[str, float, float]]:
    """Ways to have so many chips: `rent` or `own`, USD per chip and hour, USD of the purchase."""
    if offer.usd_per_hour is not None:
        yield "rent", offer.usd_per_hour, 0.0
    if offer.own is not None:
        owned = tco(count, offer.own)
        yield "own", owned.usd_per_chip_hour, owned.capex_usd


def _meets(request: Training, option: Option) -> bool:
    deadline = request.deadline_days is None or option.days <= request.deadline_days
    return deadline and (request.budget_usd is None or option.cost_usd <= request.budget_usd)


def _nothing_fits(
    offers: Sequence[Offer], unpriced: Sequence[str], misses: Mapping[str, Found]
) -> str:
    """The nearest miss, and of the other chips how many missed too."""
    if len(unpriced) == len(offers):
        return f"price: none is known for {', '.join(unpriced)}; give one per chip and hour"
    nearest = min(misses.values(), key=lambda way: (way.lack, way.miss))
    rest = f" ({len(misses) - 1} other chips miss by more)" if len(misses) > 1 else ""
    return f"no plan fits. {nearest.miss}{rest}"


def _nothing_meets(request: Training, found: Sequence[Option]) -> NoPlan:
    """The option that misses by the smallest factor, and what each limit would have to be."""

    def excess(option: Option) -> float:
        late = option.days / (request.deadline_days or inf)
        return max(late, option.cost_usd / (request.budget_usd or inf))

    near = min(found, key=excess)
    limits, lift = [], {}
    if request.deadline_days is not None and near.days > request.deadline_days:
        lift["deadline_days"] = near.days
        limits.append(f"deadline_days from {request.deadline_days:g} to {raised(near.days)}")
    if request.budget_usd is not None and near.cost_usd > request.budget_usd:
        lift["budget_usd"] = near.cost_usd
        limits.append(f"budget_usd from {request.budget_usd:,.0f} to {raised(near.cost_usd)}")
    return NoPlan(
        f"nothing is in time and within the budget; nearest is {near.count} {near.chip} "
        f"({near.basis}): {near.days:.1f} days, {near.cost_usd:,.0f} USD. "
        f"Raise {' and '.join(limits)}, or allow more or other chips",
        near=near,
        lift=lift,
    )


def raised(value: float) -> str:
    """At least the value, in three digits: a limit that is advised has to do."""
    unit = 10.0 ** (floor(log10(value)) - 2)
    return f"{ceil(value / unit) * unit:,.10g}"


def positive(name: str, value: float, most: float = inf) -> None:
    """Refuse what is not above 0, finite and at most `most`. Raises: BadField naming it."""
    if not 0 < value <= most or value == inf:
        limit = "" if most == inf else f" and up to {most:g}"
        raise BadField(name, f"{value:g} is out of range; a number above 0{limit} is right")
