"""Prices over time: which one holds at which moment, and where none is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceInterval:
    """What one node of `kind` costs per hour from `from_at` up to, not including, `to_at`.

    to_at: None while no end is known.
    Raises: ValueError for a negative or unknowable price, an empty span, or a time without zone.
    """

    kind: str
    from_at: datetime
    to_at: datetime | None
    usd_per_hour: Decimal

    def __post_init__(self) -> None:
        if not self.usd_per_hour.is_finite() or self.usd_per_hour < 0:
            raise ValueError(f"a price is a number from 0 up, not {self.usd_per_hour}")
        if any(at is not None and at.tzinfo is None for at in (self.from_at, self.to_at)):
            raise ValueError(f"the price of {self.kind} needs times with a zone")
        if self.to_at is not None and self.to_at <= self.from_at:
            raise ValueError(f"the price of {self.kind} ends at {self.to_at}, before it begins")


def kinds_to_try(kind: str) -> tuple[str, ...]:
    """The kind, then what it is a variety of: `local:P800` without a price costs as `local`."""
    parent, colon, _ = kind.partition(":")
    return (kind, parent) if colon else (kind,)


def overlay(layers: Iterable[Iterable[PriceInterval]]) -> list[PriceInterval]:
    """One price list in order of time out of several, the first layer that knows a price winning.

    Raises: ValueError when two intervals of one layer hold at the same moment.
    """
    known: list[PriceInterval] = []
    for layer in layers:
        ordered = _in_order(layer)
        known = _in_order(
            [*known, *(piece for one in ordered for piece in _uncovered(one, known))]
        )
    return known


def _in_order(intervals: Iterable[PriceInterval]) -> list[PriceInterval]:
    ordered = sorted(intervals, key=lambda one: one.from_at)
    for one, following in pairwise(ordered):
        if one.to_at is None or one.to_at > following.from_at:
            raise ValueError(f"two prices of {one.kind} hold at {following.from_at}")
    return ordered


def _uncovered(one: PriceInterval, known: Sequence[PriceInterval]) -> list[PriceInterval]:
    """The pieces of `one` for which `known`, in order of time, has no price."""
    pieces, begin = [], one.from_at
    for other in known:
        if other.to_at is not None and other.to_at <= begin:
            continue
        if one.to_at is not None and other.from_at >= one.to_at:
            break
        if other.from_at > begin:
            pieces.append(replace(one, from_at=begin, to_at=other.from_at))
        if other.to_at is None:
            return pieces
        begin = other.to_at
    if one.to_at is None or begin < one.to_at:
        pieces.append(replace(one, from_at=begin))
    return pieces
