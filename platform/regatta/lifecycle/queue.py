"""Who may start next: first come, first served, the more important first. Pure.

Amounts are by name, in units that the caller chooses and keeps: `cpus`, `memory_bytes`, `chips`,
`chip:H200`. A name that a cluster does not have, it has none of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

Amounts = Mapping[str, Decimal]


def fits(demand: Amounts, free: Amounts) -> bool:
    return all(amount <= free.get(name, 0) for name, amount in demand.items() if amount > 0)


def admit(*, capacity: Amounts, held: Iterable[Amounts], waiting: Sequence[Amounts]) -> int:
    """How many from the front of `waiting` may start now.

    Nobody overtakes: who does not fit holds up all behind, so that a large job is never starved
    by small ones.
    """
    free = dict(capacity)
    for demand in held:
        free = _less(free, demand)
    for count, demand in enumerate(waiting):
        if not fits(demand, free):
            return count
        free = _less(free, demand)
    return len(waiting)


def share(demand: Amounts, capacity: Amounts) -> Decimal:
    """The part of a cluster that a demand keeps from others: its largest share of anything, 0..1.

    What a cluster has none of counts as the whole of it.
    """
    shares = [
        amount / capacity[name] if capacity.get(name) else Decimal(1)
        for name, amount in demand.items()
        if amount > 0
    ]
    return min(max(shares, default=Decimal(0)), Decimal(1))


def _less(free: Amounts, demand: Amounts) -> dict[str, Decimal]:
    return {name: amount - demand.get(name, 0) for name, amount in free.items()}
