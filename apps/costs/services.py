"""Writes of prices, which never change, and of meters, which are safe to start or stop again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts.services import audit
from apps.costs import selectors
from apps.costs.models import Basis, Meter, PriceInterval
from apps.http.problems import Refused
from regatta.costs import ledger
from regatta.costs.ledger import Use

if TYPE_CHECKING:
    from apps.accounts.models import Team

_STEP = Decimal("0.000001")  # as the column holds it
_AWAY_MOST = timedelta(days=5 * 365)


@transaction.atomic
def set_price(
    *,
    team: Team | None,
    kind: str,
    usd_per_hour: Decimal,
    from_at: datetime | None = None,
    basis: str = Basis.LIST,
    note: str = "",
    actor: str,
) -> PriceInterval:
    """Open a price (team None: everywhere) and close the one it follows at the same moment.

    from_at: None is now. It may lie in the past only where no price was known: what has been
    charged stays charged. Not far ahead either: until then there could be no other.
    Raises: Refused when it would change the past or a price set for later; ValidationError.
    """
    _one_at_a_time(f"costs.price:{team.pk if team else 0}:{kind}")
    now = timezone.now()
    price = PriceInterval(
        team=team,
        kind=kind,
        usd_per_hour=usd_per_hour,
        from_at=from_at or now,
        basis=basis,
        note=note,
        set_by=actor,
    )
    price.full_clean(validate_constraints=False)
    _refuse_to_rewrite(price, now=now)
    PriceInterval.objects.filter(team=team, kind=kind, to_at=None).update(to_at=price.from_at)
    price.save()
    audit(team=team, actor=actor, action="price.set", subject=kind, usd_per_hour=str(usd_per_hour))
    return price


def _refuse_to_rewrite(price: PriceInterval, *, now: datetime) -> None:
    if abs(price.from_at - now) > _AWAY_MOST:
        raise Refused(
            "out_of_range",
            _("A price begins at most five years from now: from %(first)s to %(last)s.")
            % {"first": f"{now - _AWAY_MOST:%Y-%m-%d}", "last": f"{now + _AWAY_MOST:%Y-%m-%d}"},
            pointer="/from_at",
        )
    rows = PriceInterval.objects.filter(team=price.team, kind=price.kind)
    last = rows.order_by("from_at").last()
    if last is not None and last.from_at >= price.from_at:
        raise Refused(
            "price_exists",
            _("A price of %(kind)s already holds from %(at)s; a new one must begin later.")
            % {"kind": price.kind, "at": last.from_at.isoformat(timespec="seconds")},
            status=409,
            pointer="/from_at",
        )
    if price.from_at >= now:
        return
    team_id = price.team.pk if price.team else None
    known = selectors.prices([price.kind], team_id=team_id)[price.kind]
    past = ledger.cost_of(Use(kind=price.kind, start=price.from_at, end=now), known)
    if [(gap.from_at, gap.to_at) for gap in past.gaps] != [(price.from_at, now)]:
        raise Refused(
            "price_in_the_past",
            _("A price of %(kind)s was known in that time; a new one must not begin in the past.")
            % {"kind": price.kind},
            status=409,
            pointer="/from_at",
        )


@transaction.atomic
def start_meter(
    name: str,
    *,
    team_id: int,
    kinds: Mapping[str, Decimal],
    at: datetime,
    on: str = "",
) -> None:
    """Let `name` use this many nodes of each kind from `at` on, instead of what it used before.

    Starting it again with the same changes nothing; nor does news older than what is known.
    on: the name of what it draws on, such as `clusters.cluster:3`.
    """
    wanted = {kind: _whole_steps(quantity) for kind, quantity in kinds.items()}
    _one_at_a_time(f"costs.meter:{name}")
    rows = list(Meter.objects.filter(name=name))
    if any(at < (row.stopped_at or row.started_at) for row in rows):
        return
    running = {row.kind: row for row in rows if row.stopped_at is None}
    kept = {kind for kind, row in running.items() if wanted.get(kind) == row.quantity}
    over = [row.pk for kind, row in running.items() if kind not in kept]
    Meter.objects.filter(pk__in=over).update(stopped_at=at)
    Meter.objects.bulk_create(
        Meter(name=name, on=on, team_id=team_id, kind=kind, quantity=quantity, started_at=at)
        for kind, quantity in wanted.items()
        if kind not in kept
    )


def stop_meter(name: str, *, at: datetime) -> None:
    """Let `name` use nothing from `at` on; a second stop, or one too early, is harmless."""
    running = Meter.objects.filter(Q(name=name), stopped_at=None)
    running.update(stopped_at=Greatest("started_at", at))


def _whole_steps(quantity: Decimal) -> Decimal:
    """Rounded down, so that the shares of a cluster never sum to more than it."""
    return quantity.quantize(_STEP, rounding=ROUND_DOWN)


def _one_at_a_time(what: str) -> None:
    """Wait until no other transaction writes `what`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [what])
