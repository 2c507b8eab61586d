"""Writes that mean something to a person: jobs, their attempts, their progress."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from apps.accounts.services import audit
from apps.clusters import selectors as clusters
from apps.http.problems import Refused
from apps.http.schemas import MOST_ID
from apps.jobs import packages, selectors, texts
from apps.jobs.models import QUEUED, Attempt, Job, Package, Source
from apps.jobs.spec import PLAN_VARIABLE, JobSpec, check
from apps.lifecycle.nudge import announce, nudge
from regatta.lifecycle.attempt import TERMINAL, Desired, Reason
from regatta.lifecycle.queue import fits
from regatta.rayjobs.names import plain
from regatta.rayjobs.packages import pack_script

if TYPE_CHECKING:
    from apps.accounts.models import Team, User

RECONCILE, FORESEE = "jobs.reconcile", "advisor.foresee"


def submit_job(
    spec: JobSpec,
    *,
    team: Team,
    user: User,
    actor: str,
    source: str = Source.API,
    clone_of: Job | None = None,
    upload: Iterable[bytes] = (),
) -> Job:
    """Ask for a job; the reconciler brings it about.

    upload: a package that the job brings, kept only if the job is.
    Raises: Refused, and then nothing has changed.
    """
    entrypoint = spec.entrypoint or ("python main.py" if spec.script else "")
    name = spec.name.strip() or plain(" ".join(entrypoint.split()))[:80]
    spec = replace(spec, name=name, entrypoint=entrypoint)
    check(spec)
    chunks = [pack_script(spec.script)] if spec.script else upload
    with packages.received(chunks) if chunks else nullcontext() as brought, transaction.atomic():
        _check_cluster(spec, team)
        _check_secrets(spec, team)
        package = packages.named_by(spec.package, spec.runtime_env, team=team)
        job = _job(
            spec, team=team, submitted_by=user, source=source, clone_of=clone_of, package=package
        )
        _check_fits(job)
        job.full_clean(validate_constraints=False, exclude=["team", "cluster", "submitted_by"])
        if brought:  # last, for the store knows no way back
            job.package, _new = packages.keep(brought, team=team, actor=actor)
        _insert(job)
        attempt = Attempt.objects.create(job=job, next_look_at=Now())
        audit(
            team=team, actor=actor, action="job.submit", subject=_subject(job), source=str(source)
        )
        wake(attempt)
        if PLAN_VARIABLE in job.env:
            nudge(FORESEE, job.pk)
    return job


def spec_of(job: Job) -> JobSpec:
    """What was asked of a job, to be asked again; without the id that a Ray client gave it."""
    return JobSpec(
        cluster_id=job.cluster_id,
        name=job.name,
        entrypoint=job.entrypoint,
        package=job.package.name if job.package else "",
        env=job.env,
        secret_env=job.secret_env,
        runtime_env=job.runtime_env,
        metadata=job.metadata,
        entrypoint_resources=job.entrypoint_resources,
        cpus=job.cpus,
        memory_bytes=job.memory_bytes,
        chip=job.chip,
        chips=job.chips,
        priority=job.priority,
        retries=job.retries,
    )


def clone_job(
    job: Job, *, user: User, actor: str, source: str = Source.API, **changes: Any
) -> Job:
    """A new job like `job`, but for `changes`, which are fields of a JobSpec."""
    if changes.get("script"):
        changes = {"package": "", **changes}
    spec = replace(spec_of(job), **changes)
    return submit_job(spec, team=job.team, user=user, actor=actor, source=source, clone_of=job)


@transaction.atomic
def stop_job(job: Job, *, actor: str) -> None:
    """Ask for the end of a job. Asking twice, or too late, changes nothing."""
    rows = Job.objects.filter(pk=job.pk).exclude(desired=Desired.STOPPED.value)
    ended = [state.value for state in TERMINAL]
    changed = rows.exclude(state__in=ended).update(
        desired=Desired.STOPPED.value, generation=F("generation") + 1
    )
    if not changed:
        return
    audit(team=job.team, actor=actor, action="job.stop", subject=_subject(job))
    attempt = selectors.latest_attempt(job)
    never_started = attempt.state == QUEUED and attempt.advance(
        Reason.NEVER_STARTED.ending or "",
        reason=Reason.NEVER_STARTED,
        actor=actor,
        next_look_at=None,
        ended_at=Now(),
    )
    if not never_started:
        Attempt.objects.filter(pk=attempt.pk).update(next_look_at=Now())
    wake(attempt)


@transaction.atomic
def retry_job(job: Job, *, actor: str) -> Attempt:
    """Give a job that has ended another attempt.

    Raises: Refused while it has not ended, or when its cluster is deleted.
    """
    packages.hold()
    job = Job.objects.select_for_update(of=("self",)).get(pk=job.pk)
    if not job.has_ended or job.deleted_at:
        raise Refused(
            "not_ended",
            _("A job gets another attempt once it has ended; this one is %(state)s.")
            % {"state": job.state},
            status=409,
        )
    _refuse_deleted_cluster(clusters.cluster_state(job.cluster_id))
    audit(team=job.team, actor=actor, action="job.retry", subject=_subject(job))
    return open_attempt(job)


def open_attempt(job: Job) -> Attempt:
    """Another attempt of a job, at its old place in the line; the caller holds a transaction."""
    number = job.attempt_number + 1
    attempt: Attempt = Attempt.objects.create(job=job, number=number, next_look_at=Now())
    Job.objects.filter(pk=job.pk).update(
        state=QUEUED,
        reason=attempt.reason,
        since=Now(),
        desired=Desired.RUNNING.value,
        generation=F("generation") + 1,
        attempt_number=number,
        started_at=None,
        ended_at=None,
        progress={},
    )
    wake(attempt)
    return attempt


def wake(attempt: Attempt) -> None:
    """Let a worker see to an attempt now, and pages ask again, once this is committed."""
    nudge(RECONCILE, attempt.pk)
    announce(attempt.subject)


@transaction.atomic
def look_again(attempt_ids: Sequence[int]) -> int:
    """Let live attempts be looked at now, whatever they waited for; say how many there were."""
    live = Attempt.objects.filter(pk__in=attempt_ids).exclude(pk__in=Attempt.objects.ended())
    found = live.update(next_look_at=Now())
    for pk in attempt_ids:
        nudge(RECONCILE, pk)
    return int(found)


@transaction.atomic
def delete_job(job: Job, *, actor: str) -> None:
    """Take a job that has ended out of sight; its costs stay in the books.

    Raises: Refused while it has not ended.
    """
    rows = Job.objects.kept().filter(pk=job.pk, state__in=[state.value for state in TERMINAL])
    if not rows.update(deleted_at=Now()):
        raise Refused(
            "not_ended", _("Stop the job first: only one that has ended is deleted."), status=409
        )
    audit(team=job.team, actor=actor, action="job.delete", subject=_subject(job))


def note_progress(attempt_id: int, **progress: Any) -> None:
    """Remember how far a job has come: `step`, `total_steps`, `loss`, `tokens_per_s`, ….

    News of an earlier step than the one known, and of an attempt that is not the latest, is old.
    """
    told = {name: value for name, value in progress.items() if value is not None}
    news = json.dumps(told)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE jobs_job
               SET progress = jsonb_build_object('first_step', %s::jsonb->'step',
                                                 'first_at_s', extract(epoch from now()))
                              || progress || %s::jsonb
              FROM jobs_attempt
            WHERE jobs_attempt.id = %s AND jobs_job.id = jobs_attempt.job_id
              AND jobs_job.attempt_number = jobs_attempt.number
              AND coalesce((progress->>'step')::numeric, 0)
                  <= coalesce((%s::jsonb->>'step')::numeric, 'infinity')
            """,
            [news, news, attempt_id, news],
        )
    announce(f"jobs.attempt:{attempt_id}")


def _job(spec: JobSpec, *, package: Package | None, **known: Any) -> Job:
    return Job(
        cluster_id=spec.cluster_id,
        name=spec.name,
        entrypoint=spec.entrypoint,
        package=package,
        runtime_env=dict(spec.runtime_env),
        env=dict(spec.env),
        secret_env=dict(spec.secret_env),
        metadata=dict(spec.metadata),
        entrypoint_resources=dict(spec.entrypoint_resources),
        cpus=spec.cpus,
        memory_bytes=spec.memory_bytes,
        chip=spec.chip if spec.chips else "",
        chips=spec.chips,
        priority=spec.priority,
        retries=spec.retries,
        ray_id=spec.ray_id,
        reason=Reason.SUBMITTED.value,
        attempt_number=1,
        **known,
    )


def _insert(job: Job) -> None:
    try:
        with transaction.atomic():
            job.save()
    except IntegrityError as error:
        if "job_ray_id_once" not in str(error):
            raise
        raise Refused(
            "submission_id_taken",
            # the words of Ray itself, which its clients know
            f"Job with submission_id {job.ray_id} already exists. "
            "Please use a different submission_id.",
            status=409,
            pointer="/submission_id",
        ) from error


def _subject(job: Job) -> str:
    return f"jobs.job:{job.pk}"


def _check_cluster(spec: JobSpec, team: Team) -> None:
    known = 0 < spec.cluster_id <= MOST_ID
    state = clusters.cluster_state(spec.cluster_id, team_id=team.pk) if known else None
    if state is None:
        raise Refused(
            "unknown_cluster",
            _("The team has no cluster %(cluster)s.") % {"cluster": spec.cluster_id},
            pointer="/cluster",
        )
    _refuse_deleted_cluster(state)


def _refuse_deleted_cluster(state: str | None) -> None:
    if state in {"deleting", "deleted"}:
        raise Refused(
            "cluster_deleted",
            _("The cluster is deleted; clone the job to another one."),
            status=409,
            pointer="/cluster",
        )


def _check_secrets(spec: JobSpec, team: Team) -> None:
    known = set(selectors.secrets(team).values_list("name", flat=True)) if spec.secret_env else ()
    if missing := sorted(set(spec.secret_env.values()) - set(known)):
        raise Refused(
            "unknown_secret",
            _("The team has no secret %(name)s.") % {"name": missing[0][:80]},
            pointer="/secret_env",
        )


def _check_fits(job: Job) -> None:
    capacity = selectors.amounts(clusters.planned_capacity(job.cluster_id))
    for name, amount in job.demand.items():
        if not fits({name: amount}, capacity):
            raise Refused(
                "never_fits",
                _("The job asks for %(asked)s, and the whole cluster has %(has)s.")
                % {
                    "asked": texts.amount(name, amount, rounding=ROUND_UP),
                    "has": texts.amount(name, capacity.get(name, Decimal(0)), rounding=ROUND_DOWN),
                },
                pointer="/chips" if name.startswith("chip") else f"/{name}",
            )
