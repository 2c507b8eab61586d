"""Endpoints about jobs, packages and secrets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Router, Status
from ninja.decorators import decorate_view

from apps.accounts.access import allow
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.clusters import selectors as clusters
from apps.http.documents import write_json
from apps.http.idempotency import idempotent
from apps.http.paging import page
from apps.http.problems import PROBLEMS, Problem, Refused
from apps.http.schemas import MOST_ID
from apps.jobs import packages, secrets, selectors, services, texts
from apps.jobs.models import Attempt, Job, Package, Secret
from apps.jobs.schemas import (
    AttemptsOut,
    DesiredIn,
    EventsOut,
    JobIn,
    JobOut,
    JobPage,
    PackageOut,
    PackagePage,
    SecretIn,
    SecretOut,
    SecretsOut,
)
from apps.jobs.spec import JobSpec, split_env
from apps.lifecycle.models import Event
from regatta.lifecycle.attempt import AttemptState, Desired

router = Router(tags=["jobs"])
_ERRORS: dict[int, type[Problem]] = {**PROBLEMS, 412: Problem, 413: Problem}
_READ, _WRITE = allow(Scope.JOBS_READ), allow(Scope.JOBS_WRITE)
_PIECE_BYTES = 1 << 20


@router.get("/jobs", auth=_READ, response={200: JobPage, **PROBLEMS})
def list_jobs(
    request: PortalRequest,
    state: AttemptState | None = None,
    cluster_id: int | None = None,
    user: str = "",
    q: str = "",
    cursor: str | None = None,
    limit: int = 50,
) -> HttpResponse:
    """The team's jobs, newest first. user: who submitted them. q: a part of the name."""
    rows = selectors.jobs(
        request.team,
        state=state.value if state else "",
        cluster_id=_id(cluster_id),
        user=user,
        q=q[:200],
    )
    found = page(selectors.row_values(rows), cursor=cursor, limit=limit)
    say = cache(_say)  # a page has few reasons, and each asks the catalogue of a language
    items = [_row(row, say(row["reason"])) for row in found.items]
    return HttpResponse(
        write_json({"items": items, "next": found.next}), content_type="application/json"
    )


@router.post("/jobs", auth=_WRITE, response={202: JobOut, **_ERRORS})
@decorate_view(idempotent)
def submit_job(
    request: PortalRequest, body: JobIn, response: HttpResponse
) -> Status[dict[str, Any]]:
    """Ask for a job; it is run when its turn comes."""
    if body.clone_of is None:
        job = services.submit_job(
            _spec(body, request), team=request.team, user=request.user, actor=request.actor
        )
    else:
        job = services.clone_job(
            _job(request, body.clone_of),
            user=request.user,
            actor=request.actor,
            **_changes(body, request),
        )
    response["Location"] = f"/api/v1/jobs/{job.pk}"
    return Status(202, _detail(job))


@router.get("/jobs/{int:pk}", auth=_READ, response={200: JobOut, **PROBLEMS})
def get_job(request: PortalRequest, pk: int) -> dict[str, Any]:
    """One job in full."""
    return _detail(_job(request, pk))


@router.delete("/jobs/{int:pk}", auth=_WRITE, response={204: None, **_ERRORS})
def delete_job(request: PortalRequest, pk: int) -> Status[None]:
    """Take a job that has ended out of sight; its costs stay in the books."""
    job = _unchanged(request, _job(request, pk))
    services.delete_job(job, actor=request.actor)
    return Status(204, None)


@router.put("/jobs/{int:pk}/desired-state", auth=_WRITE, response={202: JobOut, **_ERRORS})
def wish(request: PortalRequest, pk: int, body: DesiredIn) -> Status[dict[str, Any]]:
    """Ask for a job's end. What was asked to stop cannot be asked to run on."""
    job = _unchanged(request, _job(request, pk))
    if body.desired is Desired.STOPPED:
        services.stop_job(job, actor=request.actor)
    elif job.desired != Desired.RUNNING or job.has_ended:
        raise Refused(
            "cannot_resume",
            _("A job that was stopped or has ended does not go on; give it another attempt."),
            status=409,
            pointer="/desired",
        )
    return Status(202, _detail(_job(request, pk)))


@router.get("/jobs/{int:pk}/attempts", auth=_READ, response={200: AttemptsOut, **PROBLEMS})
def list_attempts(request: PortalRequest, pk: int) -> dict[str, Any]:
    """Every try of a job, the latest first."""
    rows = selectors.attempts(_job(request, pk))
    return {"items": [_attempt(attempt) for attempt in rows]}


@router.post("/jobs/{int:pk}/attempts", auth=_WRITE, response={202: JobOut, **_ERRORS})
@decorate_view(idempotent)
def retry_job(request: PortalRequest, pk: int) -> Status[dict[str, Any]]:
    """Give a job that has ended another attempt."""
    services.retry_job(_unchanged(request, _job(request, pk)), actor=request.actor)
    return Status(202, _detail(_job(request, pk)))


@router.get("/jobs/{int:pk}/events", auth=_READ, response={200: EventsOut, **PROBLEMS})
def list_events(request: PortalRequest, pk: int) -> dict[str, Any]:
    """What happened to a job, in the order in which it happened."""
    job = _job(request, pk)
    numbers = {attempt.subject: attempt.number for attempt in selectors.attempts(job)}
    return {"items": [_event(event, numbers) for event in selectors.events(job)]}


@router.get("/packages", auth=_READ, response={200: PackagePage, **PROBLEMS})
def list_packages(
    request: PortalRequest, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """The team's uploaded packages, newest first."""
    found = page(selectors.packages(request.team), cursor=cursor, limit=limit)
    return {"items": list(found.items), "next": found.next}


@router.post(
    "/packages",
    auth=_WRITE,
    response={200: PackageOut, 201: PackageOut, **_ERRORS},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def upload_package(request: PortalRequest) -> Status[Package]:
    """Keep a zip file, sent as the body, for jobs to run in. The same one again is found."""
    pieces = pieces_of(request)
    package, new = packages.save_package(pieces, team=request.team, actor=request.actor)
    return Status(201 if new else 200, package)


@router.delete("/packages/{int:pk}", auth=_WRITE, response={204: None, **PROBLEMS})
def delete_package(request: PortalRequest, pk: int) -> Status[None]:
    """Delete a package that no live job needs; the same one may be uploaded again."""
    package = get_object_or_404(selectors.packages(request.team), pk=_id(pk))
    packages.delete_package(package, actor=request.actor)
    return Status(204, None)


@router.get("/secrets", auth=_READ, response={200: SecretsOut, **PROBLEMS})
def list_secrets(request: PortalRequest) -> dict[str, Any]:
    """The names of the team's secrets."""
    return {"items": list(selectors.secrets(request.team))}


@router.get("/secrets/{name}", auth=_READ, response={200: SecretOut, **PROBLEMS})
def get_secret(request: PortalRequest, name: str) -> Secret:
    """Who set a secret, and when; never its value."""
    return get_object_or_404(selectors.secrets(request.team), name=name)


@router.put("/secrets/{name}", auth=_WRITE, response={204: None, **_ERRORS})
def set_secret(request: PortalRequest, name: str, body: SecretIn) -> Status[None]:
    """Keep a value under a name, for jobs to be given as an environment variable."""
    secrets.set_secret(team=request.team, name=name, value=body.value, actor=request.actor)
    return Status(204, None)


@router.delete("/secrets/{name}", auth=_WRITE, response={204: None, **_ERRORS})
def delete_secret(request: PortalRequest, name: str) -> Status[None]:
    """Forget a secret."""
    secrets.delete_secret(get_secret(request, name), actor=request.actor)
    return Status(204, None)


def pieces_of(request: HttpRequest) -> Iterator[bytes]:
    """A request's body as it comes, so that a large one is never in memory as a whole."""
    while piece := request.read(_PIECE_BYTES):
        yield piece


def _job(request: PortalRequest, pk: int) -> Job:
    """The team's job; 404 for a foreign or a deleted one."""
    rows = selectors.jobs(request.team).select_related("cluster", "package", "submitted_by")
    return get_object_or_404(rows, pk=_id(pk) or 0)


def _id(pk: int | None) -> int | None:
    """An id that a row may have: any other would be an error of the database."""
    if pk is not None and not 0 <= pk <= MOST_ID:
        raise Http404
    return pk


def _unchanged(request: HttpRequest, job: Job) -> Job:
    """The job, if it still is as the caller's `If-Match` says; without one it always is."""
    asked = request.headers.get("If-Match", "").strip().strip('"')
    if asked not in ("", "*", str(job.generation)):
        raise Refused(
            "changed_meanwhile",
            _("The job has changed: it is at generation %(now)d.") % {"now": job.generation},
            status=412,
        )
    return job


def _spec(body: JobIn, request: PortalRequest) -> JobSpec:
    fields = _changes(body, request, every=True)
    return JobSpec(**fields)


def _changes(body: JobIn, request: PortalRequest, *, every: bool = False) -> dict[str, Any]:
    """The fields of a JobSpec that the client gave, or all of them."""
    given = body.model_dump(exclude_unset=not every)
    given.pop("clone_of", None)
    wanted = given.pop("cluster", None), given.pop("cluster_id", None)
    if every or any(one is not None for one in wanted):
        given["cluster_id"] = _cluster(request, *wanted)
    given.update(given.pop("resources", {}))
    if "env" in given:
        given["env"], secret_env = split_env(given["env"])
        if secret_env:
            given["secret_env"] = given.get("secret_env", {}) | secret_env
    return given


def _cluster(request: PortalRequest, name: str | int | None, pk: int | None) -> int:
    """One of the team's clusters. A name of figures is a name; an id is always an id."""
    if pk is not None:
        return pk
    return clusters.pick(request.team, name)


def _state(of: Job | Attempt, *, unknown_since: datetime | None) -> dict[str, Any]:
    """The state block of a job or an attempt."""
    return {
        "state": of.state,
        "reason": of.reason,
        "message": _say(of.reason),
        "since": of.since,
        "generation": of.generation,
        "unknown_since": unknown_since,
    }


def _say(reason: str) -> str:
    return str(texts.sentence(reason))


def _row(row: dict[str, Any], message: str) -> dict[str, Any]:
    """A row of a list, in the shape of a job."""
    state = {name: row.pop(name) for name in ("state", "reason", "since", "generation")}
    row["state"] = {**state, "message": message, "unknown_since": None}
    row["progress"] = selectors.reported(row["progress"])
    row["submission_id"] = row.pop("ray_id") or f"job-{row['id']}"
    return row


def _detail(job: Job) -> dict[str, Any]:
    attempt = selectors.latest_attempt(job)
    waits = job.state == AttemptState.QUEUED and job.attempt_number == 1
    cost = Decimal(0) if waits else selectors.costs_usd([job.pk])[job.pk]
    return {
        "id": job.pk,
        "name": job.name,
        "cluster_id": job.cluster_id,
        "cluster_name": job.cluster.name,
        "state": _state(job, unknown_since=attempt.unknown_since),
        "attempt_number": job.attempt_number,
        "attempt_id": attempt.pk,
        "priority": job.priority,
        "source": job.source,
        "user": job.submitted_by.username if job.submitted_by else None,
        "submission_id": job.ray_name,
        "progress": selectors.reported(job.progress),
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "desired": job.desired,
        "entrypoint": job.entrypoint,
        "package": job.package.name if job.package else None,
        "env": job.env,
        "secret_env": job.secret_env,
        "runtime_env": job.runtime_env,
        "metadata": job.metadata,
        "resources": {
            "cpus": float(job.cpus),
            "memory_bytes": job.memory_bytes,
            "chip": job.chip,
            "chips": job.chips,
        },
        "retries": job.retries,
        "clone_of": job.clone_of_id,
        "duration_s": _duration_s(job),
        "eta_s": selectors.eta_s(job.progress, state=job.state, now=timezone.now()),
        "queue_position": selectors.queue_position(job),
        "cost_usd": None if cost is None else str(round(cost, 6)),
    }


def _duration_s(job: Job) -> float | None:
    if job.started_at is None:
        return None
    return ((job.ended_at or timezone.now()) - job.started_at).total_seconds()


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": attempt.pk,
        "number": attempt.number,
        "handle": attempt.handle,
        "state": _state(attempt, unknown_since=attempt.unknown_since),
        "evidence": attempt.evidence,
        "created_at": attempt.created_at,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
    }


def _event(event: Event, numbers: dict[str, int]) -> dict[str, Any]:
    return {
        "id": event.pk,
        "at": event.at,
        "attempt": numbers[event.subject],
        "seq": event.seq,
        "old": event.old,
        "new": event.new,
        "reason": event.reason,
        "message": str(texts.sentence(event.reason)),
        "actor": event.actor,
        "detail": event.detail,
    }
