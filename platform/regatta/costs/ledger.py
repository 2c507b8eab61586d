"""What a span of time costs at given prices: exact, and unknown rather than zero without a price.

Amounts stay fractions until they are shown, so that cutting a span in two never changes the sum.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import lcm

from regatta.costs.prices import PriceInterval

_HOUR_US = 3_600_000_000
_FINE = 12  # decimals of a granted part, rounded down: without a bound, exact sums grow endless


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """`quantity` nodes of `kind`, in use from `start` to `end`.

    Raises: ValueError when the span ends before it begins, or the quantity is negative.
    """

    kind: str
    start: datetime
    end: datetime
    quantity: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"a use of {self.kind} ends at {self.end}, before it begins")
        if not self.quantity.is_finite() or self.quantity < 0:
            raise ValueError(f"the use of {self.kind} is a number from 0 up, not {self.quantity}")

    def within(self, start: datetime, end: datetime) -> Use:
        """The part of it between `start` and `end`; of no length when it lies outside."""
        begin = min(max(self.start, start), end)
        return replace(self, start=begin, end=max(begin, min(self.end, end)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A span of use for which no price of `kind` is known."""

    kind: str
    from_at: datetime
    to_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """An exact amount, and the gaps that it leaves out."""

    amount: Fraction = Fraction(0)
    gaps: tuple[Gap, ...] = ()

    def __add__(self, other: Cost) -> Cost:
        return Cost(amount=self.amount + other.amount, gaps=self.gaps + other.gaps)

    @property
    def known_usd(self) -> Decimal:
        """The part whose price is known."""
        return Decimal(self.amount.numerator) / Decimal(self.amount.denominator)

    @property
    def usd(self) -> Decimal | None:
        """The whole, or None while a part of it has no price."""
        return None if self.gaps else self.known_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Where the cost of a cluster went: to its jobs, and the rest, in which it was idle."""

    total: Cost = Cost()
    jobs: Cost = Cost()

    def __add__(self, other: Books) -> Books:
        return Books(total=self.total + other.total, jobs=self.jobs + other.jobs)

    @property
    def idle_usd(self) -> Decimal | None:
        """What no job used; None while a price is unknown."""
        if self.total.gaps or self.jobs.gaps:
            return None
        return Cost(amount=self.total.amount - self.jobs.amount).known_usd


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of all, with all their gaps."""
    return sum(costs, start=Cost())


def cost_of(use: Use, prices: Iterable[PriceInterval]) -> Cost:
    """What a use costs.

    prices: in order of time and without overlap, as `prices.overlay` gives them.
    """
    amount, gaps, at = Fraction(0), [], use.start
    for price in prices:
        begin, until = max(price.from_at, at), min(price.to_at or use.end, use.end)
        if until <= begin:
            continue
        if begin > at:
            gaps.append(Gap(kind=use.kind, from_at=at, to_at=begin))
        amount += _hours(until - begin) * Fraction(price.usd_per_hour) * Fraction(use.quantity)
        at = until
    if at < use.end:
        gaps.append(Gap(kind=use.kind, from_at=at, to_at=use.end))
    return Cost(amount=amount, gaps=tuple(gaps) if use.quantity else ())


def divide(
    nodes: Iterable[Use], claims: Sequence[Use], prices: Mapping[str, Sequence[PriceInterval]]
) -> list[Cost]:
    """What each claim on the nodes costs, in their order, and together never more than the nodes.

    Where more of a kind is claimed than there is, each claim is granted the same part of itself:
    after the loss of a node until it is replaced, or as two jobs claim their largest shares, one
    of CPUs and one of memory. What has no node costs nothing.
    prices: of each kind, as `cost_of` takes them.
    """
    there: dict[str, list[Use]] = defaultdict(list)
    asked: dict[str, list[Use]] = defaultdict(list)
    for uses, by_kind in ((nodes, there), (claims, asked)):
        for use in uses:
            by_kind[use.kind].append(use)
    unit = {kind: _granted(there[kind], asked[kind], prices[kind]) for kind in asked}
    return [unit[claim.kind].of(claim) for claim in claims]


@dataclass(frozen=True, slots=True)
class _Granted:
    """What one claimed node costs, summed up to each of `moments` and times `scale`; the gaps."""

    moments: Sequence[datetime]
    sums: Sequence[int]
    scale: int
    gaps: Sequence[Gap]

    def of(self, claim: Use) -> Cost:
        first, last = (bisect_left(self.moments, at) for at in (claim.start, claim.end))
        over, under = claim.quantity.as_integer_ratio()
        amount = Fraction((self.sums[last] - self.sums[first]) * over, self.scale * under)
        begin, end = (
            bisect_left(self.gaps, at, key=lambda gap: gap.from_at)
            for at in (claim.start, claim.end)
        )
        return Cost(amount=amount, gaps=tuple(self.gaps[begin:end]) if claim.quantity else ())


def _granted(
    nodes: Sequence[Use], claims: Sequence[Use], prices: Sequence[PriceInterval]
) -> _Granted:
    change: dict[datetime, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for place, uses in enumerate((nodes, claims)):
        for use in uses:
            change[use.start][place] += use.quantity
            change[use.end][place] -= use.quantity
    for at in (at for price in prices for at in (price.from_at, price.to_at) if at):
        change[at] = change[at]  # so that each span has one price
    # In whole numbers: thousands of jobs are summed up for one page.
    scale = lcm(*(Fraction(price.usd_per_hour).denominator for price in prices))
    moments, sums, gaps = sorted(change), [0], []
    there, asked = Decimal(0), Decimal(0)
    later = deque((price, int(Fraction(price.usd_per_hour) * scale)) for price in prices)
    for begin, end in pairwise(moments):
        there, asked = there + change[begin][0], asked + change[begin][1]
        part = int(min(there, asked).scaleb(_FINE) // asked) if asked else 0
        while later and later[0][0].to_at is not None and later[0][0].to_at <= begin:
            later.popleft()
        known = later and later[0][0].from_at <= begin
        if part and not known:
            gaps.append(Gap(kind=claims[0].kind, from_at=begin, to_at=end))
        span_us = (end - begin) // timedelta(microseconds=1)
        sums.append(sums[-1] + (span_us * part * later[0][1] if known else 0))
    return _Granted(moments, sums, scale * 10**_FINE * _HOUR_US, gaps)


def hourly_usd(prices: Iterable[PriceInterval], *, at: datetime) -> Decimal | None:
    """The price that holds at `at`; None when none is known."""
    for price in prices:
        if price.from_at <= at and (price.to_at is None or at < price.to_at):
            return price.usd_per_hour
    return None


def _hours(span: timedelta) -> Fraction:
    return Fraction(span // timedelta(microseconds=1), _HOUR_US)
