"""What may be known of jobs: lists, places in line, events, and whose token writes telemetry."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from apps.accounts import vault
from apps.clusters import selectors as clusters
from apps.costs import selectors as costs
from apps.jobs.models import QUEUED, Attempt, Job, JobQuerySet, Package, Secret
from apps.jobs.spec import PLAN_VARIABLE
from apps.lifecycle.models import Event
from regatta.lifecycle.attempt import TERMINAL
from regatta.lifecycle.queue import Amounts, share
from regatta.storage.objects import FolderStore

if TYPE_CHECKING:
    from apps.accounts.models import Team

# Columns of a list's row: `.values(*ROW)` becomes JSON without a model in between.
ROW = (
    *("id", "name", "cluster_id", "state", "reason", "since", "generation", "attempt_number"),
    *("priority", "source", "progress", "created_at", "started_at", "ended_at", "ray_id"),
)
ROW_NAMES = {"cluster_name": F("cluster__name"), "user": F("submitted_by__username")}
_GCS = "gcs://"
_TOKEN = re.compile(r"rgt_job_([0-9]{1,18})_([0-9a-f]{64})")
_TELEMETRY_AFTER_END = timedelta(minutes=2)  # what a job still held back when it ended


def store() -> FolderStore:
    """Where packages are kept."""
    return FolderStore(Path(settings.REGATTA_HOME) / "objects")


def jobs(
    team: Team,
    *,
    state: str = "",
    cluster_id: int | None = None,
    user: str = "",
    q: str = "",
) -> JobQuerySet:
    """A team's jobs that nobody deleted, narrowed down by what is given.

    q: a part of the name, in any case.
    """
    given = {
        "state": state,
        "cluster_id": cluster_id,
        "submitted_by__username": user,
        "name__icontains": q,
    }
    narrow: dict[str, Any] = {name: value for name, value in given.items() if value}
    return Job.objects.kept().filter(team=team, **narrow)


def row_values(rows: JobQuerySet) -> QuerySet[Any, Any]:
    """Rows of a list as plain data, in one query."""
    plain: QuerySet[Any, Any] = rows.values(*ROW, **ROW_NAMES)
    return plain


def job_by_ray_name(team: Team, name: str) -> Job | None:
    """The job that Ray's clients know by `name`: their own id, or `job-7` of the portal."""
    mine = Job.objects.kept().filter(team=team)
    number = re.fullmatch(r"job-([0-9]{1,18})", name)
    by_name = Q(pk=int(number[1]), ray_id="") if number else Q(ray_id=name)
    return mine.filter(by_name).first() if name else None


def attempts(job: Job) -> QuerySet[Attempt]:
    """Every try of a job, the latest first."""
    return Attempt.objects.filter(job=job).order_by("-number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A job and its latest attempt. ended_at: None while it goes on. kept: nobody deleted it."""

    job_id: int
    name: str
    kept: bool
    attempt_id: int
    attempt: int
    state: str
    started_at: datetime | None
    ended_at: datetime | None


def latest_ended(*, until: datetime) -> QuerySet[Attempt]:
    """The latest attempts of jobs, of those that ended by then."""
    return Attempt.objects.filter(number=F("job__attempt_number"), ended_at__lte=until)


def outcomes(ids: Iterable[int]) -> dict[int, Outcome]:
    """The latest attempts of these jobs, by the job's id."""
    rows = Attempt.objects.filter(job_id__in=list(ids), number=F("job__attempt_number"))
    return {
        row.job_id: Outcome(
            job_id=row.job_id,
            name=row.job.name,
            kept=row.job.deleted_at is None,
            attempt_id=row.pk,
            attempt=row.number,
            state=row.state,
            started_at=row.started_at,
            ended_at=row.ended_at,
        )
        for row in rows.select_related("job")
    }


def planned_jobs(*, since: datetime) -> JobQuerySet:
    """Jobs submitted since then that brought a plan."""
    rows: JobQuerySet = Job.objects.filter(created_at__gte=since, env__has_key=PLAN_VARIABLE)
    return rows


def hourly_usd(demand: Mapping[str, Decimal], cluster_id: int, *, team_id: int) -> Decimal | None:
    """What a job of this demand costs per hour: its share of the cluster's nodes, of those that
    are meant to be while none is there; None while a price is unknown."""
    offer = clusters.capacity(cluster_id)
    usable = bool(offer.nodes_by_kind)
    whole = amounts(offer if usable else clusters.planned_capacity(cluster_id))
    kinds = offer.nodes_by_kind if usable else clusters.planned_kinds(cluster_id)
    part = share(demand, whole)
    nodes = {kind: part * Decimal(count) for kind, count in kinds.items()}
    return costs.hourly_usd(nodes, team_id=team_id)


def latest_attempt(job: Job) -> Attempt:
    return attempts(job)[:1].get()


def queue_position(job: Job) -> int | None:
    """How many stand before a waiting job in its cluster's line; None when it does not wait."""
    if job.state != QUEUED:
        return None
    first = Q(priority__gt=job.priority) | Q(priority=job.priority, pk__lt=job.pk)
    return Job.objects.in_line(job.cluster_id).filter(first).count()


def events(job: Job) -> QuerySet[Event]:
    """The moves of all its attempts, in the order in which they happened."""
    subjects = [attempt.subject for attempt in attempts(job)]
    return Event.objects.filter(subject__in=subjects).order_by("pk")


def packages_named(runtime_env: Mapping[str, Any]) -> list[str]:
    """The uploaded packages that a runtime environment is made of, by Ray's names for them."""
    modules = runtime_env.get("py_modules")
    uris = [runtime_env.get("working_dir"), *(modules if isinstance(modules, list) else [])]
    named = [uri for uri in uris if isinstance(uri, str) and uri.startswith(_GCS)]
    return [uri.removeprefix(_GCS) for uri in named]


def packages(team: Team) -> QuerySet[Package]:
    """A team's packages that nobody deleted."""
    return Package.objects.filter(team=team, deleted_at=None)


def packages_by_name(job: Job, names: Iterable[str]) -> QuerySet[Package]:
    """Those of a job's team that have one of the names, if nobody deleted them."""
    return Package.objects.filter(team_id=job.team_id, name__in=list(names), deleted_at=None)


def secrets(team: Team) -> QuerySet[Secret]:
    """A team's secrets by name; their values are for its jobs alone."""
    return Secret.objects.filter(team=team).order_by("name")


def secret_values(job: Job) -> dict[str, str]:
    """The present values of a job's secrets by the secret's name; a deleted one is left out."""
    wanted = set(job.secret_env.values())
    rows = Secret.objects.filter(team_id=job.team_id, name__in=wanted) if wanted else []
    return {row.name: vault.open_(row.sealed) for row in rows}


def values_used(attempt: Attempt) -> set[str]:
    """The values of secrets that an attempt was started with, until its log has its ending."""
    sealed = attempt.sealed_secrets
    return set(json.loads(vault.open_(sealed))) if sealed else set()


def values_to_mask(attempt_id: int) -> set[str]:
    """What a log must not show: the secrets as they are, and as they were when it started."""
    attempt = Attempt.objects.select_related("job").get(pk=attempt_id)
    return values_used(attempt) | set(secret_values(attempt.job).values())


def amounts(offer: clusters.Capacity) -> Amounts:
    """What a cluster offers, in the names of `Job.demand`."""
    chips = {f"chip:{kind}": Decimal(count) for kind, count in offer.chips.items()}
    return {
        "cpus": Decimal(offer.cpus),
        "memory_bytes": Decimal(offer.memory_bytes),
        "chips": sum(chips.values(), Decimal(0)),
        **chips,
    }


def costs_usd(ids: Iterable[int]) -> dict[int, Decimal | None]:
    """What each job has cost so far, over all its attempts; None when a price is unknown."""
    mine = dict(Attempt.objects.filter(job_id__in=list(ids)).values_list("pk", "job_id"))
    by_name = costs.costs_usd([f"jobs.attempt:{pk}" for pk in mine])
    sums: dict[int, Decimal | None] = {}
    for pk, job_id in mine.items():
        usd, before = by_name[f"jobs.attempt:{pk}"], sums.get(job_id, Decimal(0))
        sums[job_id] = None if usd is None or before is None else before + usd
    return sums


_PACE = frozenset({"first_step", "first_at_s"})  # kept in the progress to tell the time left


def reported(progress: Mapping[str, Any]) -> dict[str, Any]:
    """What the job itself told of its progress."""
    return {name: value for name, value in progress.items() if name not in _PACE}


def eta_s(progress: Mapping[str, Any], *, state: str, now: datetime) -> float | None:
    """Seconds until a running job's last step at its pace so far; None when that is not known.

    The pace counts from the first step that was told: starting up says nothing of it.
    """
    step, total = progress.get("step"), progress.get("total_steps")
    first, first_at_s = progress.get("first_step"), progress.get("first_at_s")
    if state != "running" or not total or first is None or not first_at_s or step <= first:
        return None
    pace_s: float = (now.timestamp() - first_at_s) / (step - first)
    left_s = max(0.0, float(total - step) * pace_s)
    return left_s if isfinite(left_s) else None  # a job may report any number as its last step


def telemetry_token(attempt: Attempt) -> str:
    """The token by which an attempt writes telemetry of its own; derived, and kept nowhere."""
    return f"rgt_job_{attempt.pk}_{_signature(attempt, settings.SECRET_KEY)}"


def attempt_of_telemetry_token(token: str) -> Attempt | None:
    """Whose telemetry the bearer may write: a live attempt's, or one's that ended just now."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        return None
    live = ~Q(state__in=sorted(TERMINAL))
    lately = Q(ended_at__gt=Now() - _TELEMETRY_AFTER_END)
    found: Attempt | None = Attempt.objects.filter(live | lately, pk=int(parts[1])).first()
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    if found and any(hmac.compare_digest(parts[2], _signature(found, key)) for key in keys):
        return found
    return None


def _signature(attempt: Attempt, key: str) -> str:
    salt = "regatta.jobs.telemetry"
    return salted_hmac(salt, attempt.handle, secret=key, algorithm="sha256").hexdigest()
