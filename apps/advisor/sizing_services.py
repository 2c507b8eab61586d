"""Searches of plans for sizing, each done once, in the background, and kept for all who ask.

A search takes seconds of a core, so that it is no work for a request: the request notes it down,
a worker does one at a time, and the page looks again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from math import inf
from time import perf_counter
from typing import Any

from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from apps.advisor.models import PlanSearch
from apps.http import limits
from apps.http.problems import Refused
from apps.lifecycle.models import Moment
from apps.lifecycle.nudge import nudge
from regatta.hardware.catalogue import Chip, overlaid
from regatta.planning.plans import Plan
from regatta.planning.ranking import Ranked
from regatta.planning.shapes import Shape
from regatta.planning.sizing import Offer, Searched, Training, counts, searched

log = logging.getLogger(__name__)

SEARCH = "advisor.search"  # the task
MOST_WAITING = 48  # searches of everybody that may wait; each takes up to half a minute
MOST_TRIES = 3  # a search that ends its worker so often is given up
LEASE = timedelta(seconds=150)  # longer than the task may take
KEPT = timedelta(days=30)
NOTHING = Searched()  # of a chip that is not searched for want of a price
_LATEST = 20  # searches whose time says how long the next one takes
_RELEASE = 1  # of how a search is computed and kept; another number asks for all of them anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """left_s: until all is done, those that wait before it among it; None where nobody can say."""

    done: int
    of: int
    left_s: float | None


def wanted(request: Training, offers: Sequence[Offer], *, actor: str) -> list[PlanSearch]:
    """The searches of these offers, in their order; what nobody has asked yet is begun.

    Raises: Refused (429, 503) for one who begins too many, or where too many wait.
    """
    asked = [_asked(request, offer) for offer in offers]
    keys = [_key(one) for one in asked]
    missing = set(keys) - set(
        PlanSearch.objects.filter(key__in=keys).values_list("key", flat=True)
    )
    if missing:
        limits.spend("plan", actor)
        if PlanSearch.objects.filter(found__isnull=True).count() + len(missing) > MOST_WAITING:
            said = _("Many plans are being searched; try again in a minute.")
            raise Refused("busy", said, status=503, retry_after_s=30)
        fresh = [
            PlanSearch(key=key, asked=one, next_look_at=Now())
            for key, one in dict(zip(keys, asked, strict=True)).items()
            if key in missing
        ]
        PlanSearch.objects.bulk_create(fresh, ignore_conflicts=True)
        nudge(SEARCH, 0)  # whichever waits longest
    rows = {row.key: row for row in PlanSearch.objects.filter(key__in=keys)}
    return [rows[key] for key in keys]


def progress(rows: Sequence[PlanSearch]) -> Progress:
    """How far these searches are, and about how long the rest takes."""
    waiting = [row.pk for row in rows if row.found is None]
    if not waiting:
        return Progress(done=len(rows), of=len(rows), left_s=0.0)
    before = PlanSearch.objects.filter(found__isnull=True, pk__lte=max(waiting)).count()
    took = [row.took_s for row in rows if row.took_s is not None]
    if not took:
        latest = PlanSearch.objects.exclude(took_s=None).order_by("-pk")[:_LATEST]
        took = [row.took_s for row in latest if row.took_s is not None]
    left_s = before * sum(took) / len(took) if took else None
    return Progress(done=len(rows) - len(waiting), of=len(rows), left_s=left_s)


def found(row: PlanSearch) -> Searched:
    """What a search that is done has found."""
    told: dict[str, Any] = row.found or {}
    return Searched(
        best=tuple((count, _ranked(item)) for count, item in told["best"]),
        lack=inf if told["lack"] is None else told["lack"],
        miss=told["miss"],
    )


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
        result = _given_up(row) if row.tries >= MOST_TRIES else _searched(row)
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
    """Forget searches after a month: the next who asks has them done anew."""
    PlanSearch.objects.filter(Q(made_at__lt=now - KEPT)).delete()


def _searched(row: PlanSearch) -> dict[str, Any]:
    request, offer = _read(row.asked)
    result = searched(request, offer)
    return {
        "best": [[count, asdict(item)] for count, item in result.best],
        "lack": None if result.lack == inf else result.lack,
        "miss": result.miss,
    }


def _given_up(row: PlanSearch) -> dict[str, Any]:
    log.error("given up: %s", row, extra={"action": "search_given_up", "search": row.pk})
    return {"best": [], "lack": None, "miss": f"search: {row.asked['chip']} took too long"}


def _asked(request: Training, offer: Offer) -> dict[str, Any]:
    """Everything that a search depends on; tokens, prices and dates are not among it."""
    chip = offer.chip
    return {
        "release": _RELEASE,
        "chip": chip.name,
        "figures": {name: one.value for name, one in sorted(chip.figures.items())},
        "counts": sorted(counts(offer)),
        "shape": {name: float(value) for name, value in asdict(request.shape).items()},
        "global_batch": request.global_batch,
        "dtype": request.dtype,
        "frozen": request.frozen,
    }


def _key(asked: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _read(asked: dict[str, Any]) -> tuple[Training, Offer]:
    chip = _chip(asked["chip"], asked["figures"])
    request = Training(
        shape=Shape(**asked["shape"]),
        tokens=1.0,  # a search takes the same for any
        global_batch=asked["global_batch"],
        dtype=asked["dtype"],
        frozen=asked["frozen"],
    )
    return request, Offer(chip=chip, counts=tuple(asked["counts"]))


def _chip(name: str, figures: dict[str, float]) -> Chip:
    identity = dict.fromkeys(("vendor", "form_factor", "aliases", "note"), "")
    about = {"chip": name, "year": "0", "quality": "assumed", "source": "as asked"}
    rows = [about | {"figure": one, "value": repr(value)} for one, value in figures.items()]
    return overlaid({}, [identity | {"chip": name}], rows)[name]


def _ranked(item: dict[str, Any]) -> Ranked:
    return Ranked(**{**item, "plan": Plan(**item["plan"])})
