"""What things cost, at the prices that held at the time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.db.models import DateTimeField, Exists, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from apps.clusters import selectors as clusters
from apps.costs.models import Basis, Meter, PriceInterval
from regatta.costs import ledger
from regatta.costs import prices as engine
from regatta.costs.ledger import Books, Cost, Use

Prices = Mapping[str, list[engine.PriceInterval]]
Lifetimes = Mapping[int, Sequence[clusters.NodeLifetime]]

_ON = "clusters.cluster:"
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a team spends: each sum is None while a price in it is unknown.

    hourly_usd: of all nodes that run now. month_usd: since `month_from`, of which
    `month_jobs_usd` went to jobs and `month_idle_usd` to none.
    unpriced: kinds in use without a price. sample: whether a price is sample data.
    by_cluster: the books of this month, of each cluster that had a node in it.
    """

    at: datetime
    hourly_usd: Decimal | None
    month_from: datetime
    month_usd: Decimal | None
    month_jobs_usd: Decimal | None
    month_idle_usd: Decimal | None
    unpriced: tuple[str, ...]
    sample: bool
    by_cluster: Mapping[int, Books]


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
    return _hourly_usd(kinds, prices(kinds, team_id=team_id), at=at or timezone.now())


def is_sample(kinds: Iterable[str], *, team_id: int) -> bool:
    """Whether a price of one of these kinds is sample data."""
    rows = PriceInterval.objects.filter(Q(team=None) | Q(team_id=team_id), basis=Basis.SAMPLE)
    tried = {one for kind in kinds for one in engine.kinds_to_try(kind)}
    return rows.filter(kind__in=tried).exists()


def cost_usd(name: str, *, now: datetime | None = None) -> Decimal | None:
    """What `name` has cost so far; None when a price is unknown."""
    return costs_usd([name], now=now)[name]


def costs_usd(names: Iterable[str], *, now: datetime | None = None) -> dict[str, Decimal | None]:
    """What each of `names` has cost so far, in as many queries for many as for one; None when a
    price is unknown."""
    until = now or timezone.now()
    costs = dict.fromkeys(wanted := list(names), Cost())
    mine = Meter.objects.filter(name__in=wanted)
    meters = [*mine.filter(on=""), *_beside(mine.exclude(on=""), until)]
    lifetimes = clusters.node_lifetimes(
        ids={_cluster_id(row) for row in meters if row.on},
        since=min((row.started_at for row in meters), default=None),
    )
    for team_id in {row.team_id for row in meters}:
        of_team = [row for row in meters if row.team_id == team_id]
        known = prices({row.kind for row in of_team}, team_id=team_id)
        for row, cost in _charged(of_team, lifetimes, known, start=_EVER, end=until):
            if row.name in costs:
                costs[row.name] += cost
    return {name: cost.usd for name, cost in costs.items()}


def cluster_books(cluster_id: int, *, now: datetime | None = None) -> Books:
    """What a cluster has cost so far, and what of it went to jobs."""
    lifetimes = clusters.node_lifetimes(ids=[cluster_id])
    team_id = clusters.team_id(cluster_id)
    books, _ = _books(team_id, lifetimes, start=_EVER, end=now or timezone.now())
    return books.get(cluster_id, Books())


def summary(team_id: int, *, now: datetime | None = None) -> Summary:
    """What a team spends per hour now, and has spent this month (of UTC)."""
    at = now or timezone.now()
    month = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    lifetimes = clusters.node_lifetimes(team_id=team_id, since=month)
    by_cluster, known = _books(team_id, lifetimes, start=month, end=at)
    spent = sum(by_cluster.values(), start=Books())
    running = Counter(
        node.kind for nodes in lifetimes.values() for node in nodes if node.ended_at is None
    )
    return Summary(
        at=at,
        hourly_usd=_hourly_usd(running, known, at=at),
        month_from=month,
        month_usd=spent.total.usd,
        month_jobs_usd=spent.jobs.usd,
        month_idle_usd=spent.idle_usd,
        unpriced=tuple(sorted({gap.kind for gap in spent.total.gaps})),
        sample=is_sample(known, team_id=team_id),
        by_cluster=by_cluster,
    )


def _hourly_usd(
    kinds: Mapping[str, Decimal | int], known: Prices, *, at: datetime
) -> Decimal | None:
    sums = Decimal(0)
    for kind, quantity in kinds.items():
        price = ledger.hourly_usd(known[kind], at=at)
        if price is None and quantity:
            return None
        sums += quantity * (price or 0)
    return sums


def _books(
    team_id: int | None, lifetimes: Lifetimes, *, start: datetime, end: datetime
) -> tuple[dict[int, Books], Prices]:
    """The books of each cluster of a team from `start` to `end`, and the prices they follow."""
    inside = Q(stopped_at=None) | Q(stopped_at__gt=start), Q(started_at__lt=end)
    meters = list(Meter.objects.filter(*inside, on__in=[f"{_ON}{pk}" for pk in lifetimes]))
    kinds = {node.kind for nodes in lifetimes.values() for node in nodes}
    known = prices(kinds | {row.kind for row in meters}, team_id=team_id)
    books = {
        pk: Books(total=ledger.total(ledger.cost_of(use, known[use.kind]) for use in uses))
        for pk, uses in _lives(lifetimes, start, end).items()
    }
    for row, cost in _charged(meters, lifetimes, known, start=start, end=end):
        books[_cluster_id(row)] += Books(jobs=cost)
    return books, known


def _beside(mine: QuerySet[Meter], until: datetime) -> QuerySet[Meter]:
    """These meters, and those that ran on the same cluster at the same time as one of them."""
    ends = Coalesce(OuterRef("stopped_at"), Value(until, output_field=DateTimeField()))
    met = mine.filter(Q(stopped_at=None) | Q(stopped_at__gt=OuterRef("started_at")))
    return Meter.objects.filter(Exists(met.filter(on=OuterRef("on"), started_at__lt=ends)))


def _charged(
    meters: Sequence[Meter],
    lifetimes: Lifetimes,
    known: Prices,
    *,
    start: datetime,
    end: datetime,
) -> Iterator[tuple[Meter, Cost]]:
    """Each meter with what it costs: its part of its cluster; all that it says, if on none."""
    by_cluster: dict[int | None, list[Meter]] = defaultdict(list)
    for row in meters:
        by_cluster[_cluster_id(row) if row.on else None].append(row)
    lives = _lives(lifetimes, start, end)
    for cluster_id, rows in by_cluster.items():
        uses = [
            _use(row.kind, row.started_at, row.stopped_at, end, row.quantity).within(start, end)
            for row in rows
        ]
        if cluster_id is None:
            costs = [ledger.cost_of(use, known[use.kind]) for use in uses]
        else:
            costs = ledger.divide(lives.get(cluster_id, []), uses, known)
        yield from zip(rows, costs, strict=True)


def _lives(lifetimes: Lifetimes, start: datetime, end: datetime) -> dict[int, list[Use]]:
    return {
        pk: [_use(one.kind, one.started_at, one.ended_at, end).within(start, end) for one in nodes]
        for pk, nodes in lifetimes.items()
    }


def _use(
    kind: str, start: datetime, end: datetime | None, until: datetime, quantity: Decimal = _ONE
) -> Use:
    """So far; it never ends before its start, should this host's clock be behind."""
    return Use(kind=kind, start=start, end=max(start, end or until), quantity=quantity)


def _cluster_id(row: Meter) -> int:
    return int(row.on.removeprefix(_ON))
