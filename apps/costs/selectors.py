"""What things cost, at the prices that held at the time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.clusters import selectors as clusters
from apps.costs.models import Basis, Meter, PriceInterval
from regatta.costs import ledger
from regatta.costs import prices as engine
from regatta.costs.ledger import Books, Cost, Use

Prices = Mapping[str, list[engine.PriceInterval]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a team spends: each sum is None while a price in it is unknown.

    hourly_usd: of all nodes that run now. month_usd: since `month_from`, of which
    `month_jobs_usd` went to jobs and `month_idle_usd` to none.
    unpriced: kinds in use without a price. sample: whether a price is sample data.
    """

    at: datetime
    hourly_usd: Decimal | None
    month_from: datetime
    month_usd: Decimal | None
    month_jobs_usd: Decimal | None
    month_idle_usd: Decimal | None
    unpriced: tuple[str, ...]
    sample: bool


def price_rows(team_id: int) -> QuerySet[PriceInterval]:
    """A team's own prices and those of everywhere, the newest of each kind first."""
    rows = PriceInterval.objects.filter(Q(team=None) | Q(team_id=team_id))
    return rows.order_by("kind", "-team_id", "-from_at")


def prices(kinds: Iterable[str], *, team_id: int | None) -> Prices:
    """The price list of each kind for a team: its own before everywhere's, `local:P800`'s
    before `local`'s."""
    wanted = {kind: engine.kinds_to_try(kind) for kind in kinds}
    rows = PriceInterval.objects.filter(Q(team=None) | Q(team_id=team_id))
    found: dict[tuple[str, int | None], list[engine.PriceInterval]] = defaultdict(list)
    for row in rows.filter(kind__in={one for tried in wanted.values() for one in tried}):
        found[row.kind, row.team_id].append(
            engine.PriceInterval(
                kind=row.kind, from_at=row.from_at, to_at=row.to_at, usd_per_hour=row.usd_per_hour
            )
        )
    owners: list[int | None] = [None] if team_id is None else [team_id, None]
    return {
        kind: engine.overlay([found[one, owner] for one in tried for owner in owners])
        for kind, tried in wanted.items()
    }


def hourly_usd(
    kinds: Mapping[str, Decimal], *, team_id: int, at: datetime | None = None
) -> Decimal | None:
    """What so many nodes of each kind cost per hour; None when the price of one is unknown."""
    known, when = prices(kinds, team_id=team_id), at or timezone.now()
    sums = Decimal(0)
    for kind, quantity in kinds.items():
        price = ledger.hourly_usd(known[kind], at=when)
        if price is None and quantity:
            return None
        sums += quantity * (price or 0)
    return sums


def cost_usd(name: str, *, now: datetime | None = None) -> Decimal | None:
    """What `name` has cost so far; None when a price is unknown."""
    return costs_usd([name], now=now)[name]


def costs_usd(names: Iterable[str], *, now: datetime | None = None) -> dict[str, Decimal | None]:
    """What each of `names` has cost so far, in two queries; None when a price is unknown."""
    meters = list(Meter.objects.filter(name__in=(wanted := list(names))))
    return {name: cost.usd for name, cost in _by_name(wanted, meters, now=now).items()}


def cluster_books(
    cluster_id: int, *, start: datetime | None = None, now: datetime | None = None
) -> Books:
    """What a cluster has cost since `start` (None: ever), and what of it went to jobs."""
    until, team_id = now or timezone.now(), clusters.team_id(cluster_id)
    nodes = [
        Use(kind=node.kind, start=node.started_at, end=_end(node.started_at, node.ended_at, until))
        for node in clusters.node_lifetimes(cluster_id)
    ]
    meters = Meter.objects.filter(on=f"clusters.cluster:{cluster_id}")
    jobs = [_use(row, until) for row in meters]
    known = prices({use.kind for use in [*nodes, *jobs]}, team_id=team_id)
    return Books(
        total=_sum(nodes, known, start=start, end=until),
        jobs=_sum(jobs, known, start=start, end=until),
    )


def summary(team_id: int, *, now: datetime | None = None) -> Summary:
    """What a team spends per hour now, and has spent this month (of UTC)."""
    at = now or timezone.now()
    month = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    ids = list(clusters.ids_of_team(team_id))
    spent = sum((cluster_books(pk, start=month, now=at) for pk in ids), start=Books())
    kinds: dict[str, Decimal] = defaultdict(Decimal)
    for cluster_id in ids:
        for node in clusters.node_lifetimes(cluster_id):
            kinds[node.kind] += node.ended_at is None
    rows = PriceInterval.objects.filter(Q(team=None) | Q(team_id=team_id), basis=Basis.SAMPLE)
    tried = {one for kind in kinds for one in engine.kinds_to_try(kind)}
    return Summary(
        at=at,
        hourly_usd=hourly_usd(kinds, team_id=team_id, at=at),
        month_from=month,
        month_usd=spent.total.usd,
        month_jobs_usd=spent.jobs.usd,
        month_idle_usd=spent.idle_usd,
        unpriced=tuple(sorted({gap.kind for gap in spent.total.gaps})),
        sample=rows.filter(kind__in=tried).exists(),
    )


def _by_name(
    names: Iterable[str], meters: Iterable[Meter], *, now: datetime | None
) -> dict[str, Cost]:
    until = now or timezone.now()
    costs = dict.fromkeys(names, Cost())
    by_team: dict[int, list[Meter]] = defaultdict(list)
    for row in meters:
        by_team[row.team_id].append(row)
    for team_id, rows in by_team.items():
        known = prices({row.kind for row in rows}, team_id=team_id)
        for row in rows:
            costs[row.name] += ledger.cost_of(_use(row, until), known[row.kind])
    return costs


def _sum(uses: Iterable[Use], known: Prices, *, start: datetime | None, end: datetime) -> Cost:
    inside = (use if start is None else use.within(start, end) for use in uses)
    return ledger.total(ledger.cost_of(use, known[use.kind]) for use in inside)


def _use(row: Meter, until: datetime) -> Use:
    end = _end(row.started_at, row.stopped_at, until)
    return Use(kind=row.kind, quantity=row.quantity, start=row.started_at, end=end)


def _end(start: datetime, end: datetime | None, until: datetime) -> datetime:
    """Where a use ends so far; never before its start, should this host's clock be behind."""
    return max(start, end or until)
