"""Builders of prices and meters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from apps.costs import services
from apps.costs.models import Basis, PriceInterval

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def after(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def a_price(usd, *, kind="h200", team=None, from_h=0.0, to_h=None):
    """A row as it stands after its time, whatever the clock says now."""
    return PriceInterval.objects.create(
        team=team,
        kind=kind,
        usd_per_hour=Decimal(usd),
        from_at=after(from_h),
        to_at=None if to_h is None else after(to_h),
        basis=Basis.LIST,
    )


def a_meter(name, *, team, kinds=None, start_h=0.0, stop_h=None, on=""):
    kinds = kinds or {"h200": Decimal(1)}
    services.start_meter(name, team_id=team.pk, kinds=kinds, at=after(start_h), on=on)
    if stop_h is not None:
        services.stop_meter(name, at=after(stop_h))
