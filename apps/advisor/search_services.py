"""Searches of plans, each done once, in the background, and kept for all who ask.

A search takes seconds of a core, so that it is no work for a request: the request notes it down,
a worker does one at a time, and the page looks again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import Any

from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from apps.advisor import search_work
from apps.advisor.models import PlanSearch
from apps.advisor.search_work import Asked
from apps.http import limits
from apps.http.problems import Refused
from apps.lifecycle.models import Moment
from apps.lifecycle.nudge import nudge

log = logging.getLogger(__name__)

SEARCH = "advisor.search"  # the task
MOST_WAITING = 48  # searches of everybody that may wait; each takes seconds, some a minute
MOST_TRIES = 3  # a search that ends its worker so often is given up
LEASE = timedelta(seconds=300)  # longer than the task may take
PATIENCE = timedelta(seconds=30)  # for so long the ticker leaves a search to the workers
KEPT, KEPT_FAILED = timedelta(days=30), timedelta(days=1)
_LATEST = 20  # searches whose time says how long the next one takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """left_s: until all is done, those that wait before it among it; None where nobody can say."""

    done: int
    of: int
    left_s: float | None


def ask(asked: Sequence[Asked], *, actor: str) -> list[PlanSearch]:
    """The rows of these searches, in their order; what nobody has asked yet is begun.

    Raises: Refused (429, 503) for one who begins too many, or where too many wait.
    """
    keys = [search_work.key(one) for one in asked]
    rows = PlanSearch.objects.in_bulk(keys, field_name="key")
    missing = set(keys) - set(rows)
    if missing:
        limits.spend("plan", actor)
        if PlanSearch.objects.filter(found__isnull=True).count() + len(missing) > MOST_WAITING:
            said = _("Many plans are being searched; try again in a minute.")
            raise Refused("busy", said, status=503, retry_after_s=30)
        fresh = [
            PlanSearch(key=key, asked=one, next_look_at=Now() + PATIENCE)
            for key, one in dict(zip(keys, asked, strict=True)).items()
            if key in missing
        ]
        PlanSearch.objects.bulk_create(fresh, ignore_conflicts=True)
        nudge(SEARCH, 0)  # whichever waits longest
        rows |= PlanSearch.objects.in_bulk(missing, field_name="key")
    return [rows[key] for key in keys]


def progress(rows: Sequence[PlanSearch]) -> Progress:
    """How far these searches are, and about how long the rest takes."""
    waiting = [row.pk for row in rows if row.found is None]
    if not waiting:
        return Progress(done=len(rows), of=len(rows), left_s=0.0)
    before = PlanSearch.objects.filter(found__isnull=True, pk__lte=max(waiting)).count()
    took = [row.took_s for row in rows if row.took_s is not None]
    if not took:
        alike = PlanSearch.objects.filter(asked__kind=rows[0].asked["kind"])
        latest = alike.exclude(took_s=None).order_by("-pk")[:_LATEST]
        took = [row.took_s for row in latest if row.took_s is not None]
    left_s = before * sum(took) / len(took) if took else None
    return Progress(done=len(rows) - len(waiting), of=len(rows), left_s=left_s)


def search_next(*, now: Moment) -> bool:
    """Do the search that has waited longest, unless another is being done. False: there was none.

    One at a time, so that searches never take more than one core from everything else.
    """
    if PlanSearch.objects.filter(found__isnull=True, lease_until__gt=now).exists():
        return False
    rows = PlanSearch.objects.claim_due(now=now, lease=LEASE, limit=1)
    for row in rows:
        PlanSearch.objects.filter(pk=row.pk).update(tries=F("tries") + 1)
        begun = perf_counter()
        result = _done(row)
        mine = PlanSearch.objects.filter(pk=row.pk, lease_token=row.lease_token)
        mine.update(
            found=result,
            took_s=perf_counter() - begun,
            next_look_at=None,
            lease_until=None,
            lease_token=None,
        )
    return bool(rows)


def prune(*, now: Moment) -> None:
    """Forget old searches, failed ones sooner: the next who asks has them done anew."""
    failed = Q(found__failed=True, made_at__lt=now - KEPT_FAILED)
    PlanSearch.objects.filter(failed | Q(made_at__lt=now - KEPT)).delete()


def _done(row: PlanSearch) -> dict[str, Any]:
    about = {"search": row.pk}
    if row.tries >= MOST_TRIES:
        log.error("given up: %s", row, extra=about | {"action": "search_given_up"})
        return search_work.failed(row.asked, f"it ended its worker {MOST_TRIES} times")
    try:
        return search_work.done(row.asked)
    except Exception:  # one search's trouble must not hold up the others
        log.exception("no answer: %s", row, extra=about | {"action": "search_failed"})
        return search_work.failed(row.asked, "the planner met an error")
