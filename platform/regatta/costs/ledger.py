"""What a span of time costs at given prices: exact, and unknown rather than zero without a price.

Amounts stay fractions until they are shown, so that cutting a span in two never changes the sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from regatta.costs.prices import PriceInterval

_HOUR_US = 3_600_000_000


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
    """Where the cost of a cluster went: its jobs, and the rest, in which nothing was asked of it.

    idle: negative when the jobs were charged more than the cluster cost; always a fault.
    """

    total: Cost
    jobs: Cost

    @property
    def idle_usd(self) -> Decimal | None:
        if self.total.gaps or self.jobs.gaps:
            return None
        return Cost(amount=self.total.amount - self.jobs.amount).known_usd

    def balances(self, *, tolerance: Fraction = Fraction(1, 1000)) -> bool:
        """Whether the jobs cost no more than the cluster did, but for `tolerance` of its cost."""
        return self.jobs.amount <= self.total.amount * (1 + tolerance)


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of all, with all their gaps."""
    return sum(costs, start=Cost())


def cost_of(
    prices: Iterable[PriceInterval],
    *,
    kind: str,
    start: datetime,
    end: datetime,
    quantity: Decimal = Decimal(1),
) -> Cost:
    """The cost of `quantity` nodes of `kind` from `start` to `end`.

    prices: in order of time and without overlap, as `prices.overlay` gives them.
    Raises: ValueError when the span ends before it begins, or the quantity is negative.
    """
    if end < start:
        raise ValueError(f"a span of {kind} ends at {end}, before it begins at {start}")
    if not quantity.is_finite() or quantity < 0:
        raise ValueError(f"a quantity of {kind} is a number from 0 up, not {quantity}")
    amount, gaps, at = Fraction(0), [], start
    for price in prices:
        begin, until = max(price.from_at, at), min(price.to_at or end, end)
        if until <= begin:
            continue
        if begin > at:
            gaps.append(Gap(kind=kind, from_at=at, to_at=begin))
        amount += _hours(until - begin) * Fraction(price.usd_per_hour) * Fraction(quantity)
        at = until
    if at < end:
        gaps.append(Gap(kind=kind, from_at=at, to_at=end))
    return Cost(amount=amount, gaps=tuple(gaps) if quantity else ())


def cost_usd(
    prices: Iterable[PriceInterval], start: datetime, end: datetime, quantity: Decimal = Decimal(1)
) -> Decimal | None:
    """As `cost_of`, as a number; None when a price is missing."""
    return cost_of(prices, kind="", start=start, end=end, quantity=quantity).usd


def hourly_usd(prices: Iterable[PriceInterval], *, at: datetime) -> Decimal | None:
    """The price that holds at `at`; None when none is known."""
    for price in prices:
        if price.from_at <= at and (price.to_at is None or at < price.to_at):
            return price.usd_per_hour
    return None


def within(
    start: datetime, end: datetime, *, window_start: datetime, window_end: datetime
) -> tuple[datetime, datetime] | None:
    """The part of a span that lies in a window; None when it lies outside."""
    begin, until = max(start, window_start), min(end, window_end)
    return (begin, until) if begin < until else None


def _hours(span: timedelta) -> Fraction:
    return Fraction(span // timedelta(microseconds=1), _HOUR_US)
