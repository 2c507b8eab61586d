"""Writes that mean something to a person: jobs, packages, secrets, progress."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F, Sum
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.accounts import vault
from apps.accounts.services import audit
from apps.clusters import selectors as clusters
from apps.http.problems import Refused
from apps.jobs import selectors, texts
from apps.jobs.models import QUEUED, Attempt, Job, Package, Secret, Source
from apps.jobs.spec import SECRET_NAME, JobSpec, check
from apps.lifecycle.nudge import announce, nudge
from regatta.lifecycle.attempt import TERMINAL, Desired, Reason
from regatta.lifecycle.queue import fits
from regatta.rayjobs import packages
from regatta.rayjobs.packages import BadPackage, Flaw
from regatta.storage.objects import Draft, TooLarge

if TYPE_CHECKING:
    from apps.accounts.models import Team, User

RECONCILE = "jobs.reconcile"
PACKAGE_PREFIX = "_ray_pkg_"
PACKAGES_BYTES_MOST = 20 << 30  # of one team
SECRET_BYTES_MOST = 32 << 10


@transaction.atomic
def submit_job(
    spec: JobSpec,
    *,
    team: Team,
    user: User,
    actor: str,
    source: str = Source.API,
    clone_of: Job | None = None,
) -> Job:
    """Ask for a job; the reconciler brings it about.

    Raises: Refused, and then nothing has changed.
    """
    entrypoint = spec.entrypoint or ("python main.py" if spec.script else "")
    name = spec.name.strip() or " ".join(entrypoint.split())[:80]
    spec = replace(spec, name=name, entrypoint=entrypoint)
    check(spec)
    _check_cluster(spec, team)
    _check_secrets(spec, team)
    package = _package_of(spec, team, actor)
    job = Job(
        team=team,
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
        source=source,
        submitted_by=user,
        clone_of=clone_of,
        ray_id=spec.ray_id,
        reason=Reason.SUBMITTED.value,
        attempt_number=1,
    )
    _check_fits(job)
    _insert(job)
    attempt = Attempt.objects.create(job=job, next_look_at=Now())
    audit(team=team, actor=actor, action="job.submit", subject=_subject(job), source=str(source))
    wake(attempt)
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
    job = Job.objects.select_for_update(of=("self",)).get(pk=job.pk)
    if not job.has_ended or job.deleted_at:
        raise Refused(
            "not_ended",
            _("A job gets another attempt once it has ended; this one is %(state)s.")
            % {"state": job.state},
            status=409,
        )
    _refuse_deleted_cluster(job.cluster_id)
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


def save_package(
    chunks: Iterable[bytes], *, team: Team, actor: str, name: str = ""
) -> tuple[Package, bool]:
    """Check and keep an uploaded package, and say whether it is new.

    name: of a Ray client's choice; without one it is made from the content. What a name stands
    for never changes: a second upload of it is read and dropped.
    Raises: Refused.
    """
    limits = packages.Limits()
    try:
        with selectors.store().receive(chunks, max_bytes=limits.packed_bytes) as draft:
            facts = packages.check_zip(draft.file, limits=limits)
            name = name or f"{PACKAGE_PREFIX}{draft.sha256[:40]}.zip"
            found = selectors.packages(team).filter(name=name).first()
            if found is not None:
                return found, False
            _check_quota(team, draft)
            selectors.store().keep(draft)
    except TooLarge as error:
        raise Refused(
            "package_too_large",
            _("A package has at most %(most)d MiB.") % {"most": limits.packed_bytes >> 20},
            status=413,
        ) from error
    except BadPackage as flaw:
        raise Refused(flaw.flaw, f"{FLAWS[flaw.flaw]} {_named(flaw)}".strip()) from flaw
    with transaction.atomic():
        package, new = Package.objects.get_or_create(
            team=team,
            name=name,
            defaults={
                "sha256": draft.sha256,
                "size_bytes": draft.size_bytes,
                "members": facts.members,
                "unpacked_bytes": facts.unpacked_bytes,
                "uploaded_by": actor,
            },
        )
        if new:
            audit(team=team, actor=actor, action="package.upload", subject=name)
    return package, new


FLAWS: Mapping[Flaw, Any] = {
    Flaw.NOT_A_ZIP: gettext_lazy("A package is a zip file; pack a tar.gz anew as a zip."),
    Flaw.DAMAGED: gettext_lazy("The zip file is damaged; pack it anew."),
    Flaw.ENCRYPTED: gettext_lazy("An encrypted zip file cannot be looked through."),
    Flaw.METHOD: gettext_lazy("Pack the zip file with the usual compression, deflate."),
    Flaw.TOO_MANY_MEMBERS: gettext_lazy("A package has at most 10,000 files."),
    Flaw.TOO_LARGE: gettext_lazy("A package has at most 2 GiB of content."),
    Flaw.BOMB: gettext_lazy("The content is more than 100 times the package's size."),
    Flaw.BAD_NAME: gettext_lazy(
        "A file's name is too long, or has characters that mislead or do not print."
    ),
    Flaw.TRAVERSAL: gettext_lazy("A file's name leads out of the package."),
    Flaw.LINK: gettext_lazy("A package holds files and folders only, no links or devices."),
    Flaw.TWICE: gettext_lazy("Two names stand for the same file."),
}


@transaction.atomic
def set_secret(*, team: Team, name: str, value: str, actor: str) -> bool:
    """Keep a secret under a name, in place of an earlier one; say whether the name is new."""
    if not SECRET_NAME.fullmatch(name):
        raise Refused(
            "bad_secret_name",
            _("A secret's name has up to 80 letters, digits, '_', '-', '.'."),
            pointer="/name",
        )
    if not value or "\0" in value or len(value.encode()) > SECRET_BYTES_MOST:
        raise Refused(
            "bad_secret",
            _("A secret has from 1 byte to 32 KiB, and no zero bytes."),
            pointer="/value",
        )
    _row, new = Secret.objects.update_or_create(
        team=team,
        name=name,
        defaults={"sealed": vault.seal(value), "set_by": actor, "set_at": timezone.now()},
    )
    audit(team=team, actor=actor, action="secret.set", subject=name)
    return new


@transaction.atomic
def delete_secret(secret: Secret, *, actor: str) -> None:
    """Forget a secret; jobs that name it fail to start from now on."""
    secret.delete()
    audit(team=secret.team, actor=actor, action="secret.delete", subject=secret.name)


def _insert(job: Job) -> None:
    job.full_clean(validate_constraints=False, exclude=["team", "cluster", "submitted_by"])
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
    if not 0 < spec.cluster_id < 1 << 63 or clusters.team_id(spec.cluster_id) != team.pk:
        raise Refused(
            "unknown_cluster",
            _("The team has no cluster %(cluster)s.") % {"cluster": spec.cluster_id},
            pointer="/cluster",
        )
    _refuse_deleted_cluster(spec.cluster_id)


def _refuse_deleted_cluster(cluster_id: int) -> None:
    if clusters.cluster_state(cluster_id) in {"deleting", "deleted"}:
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


def _package_of(spec: JobSpec, team: Team, actor: str) -> Package | None:
    """The package that the job brings; all that its environment names must be there too."""
    named = {"/package": [spec.package] if spec.package else []}
    named["/runtime_env"] = selectors.packages_named(spec.runtime_env)
    for pointer, names in named.items():
        found = set(selectors.packages(team).filter(name__in=names).values_list("name", flat=True))
        if missing := sorted(set(names) - found):
            raise Refused(
                "unknown_package",
                _("The team has no package %(name)s; upload it first.")
                % {"name": missing[0][:80]},
                pointer=pointer,
            )
    if spec.script:
        chunks = [packages.pack_script(spec.script)]
        return save_package(chunks, team=team, actor=actor)[0]
    return selectors.packages(team).get(name=spec.package) if spec.package else None


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


def _check_quota(team: Team, draft: Draft) -> None:
    kept = selectors.packages(team).aggregate(sum=Sum("size_bytes"))["sum"] or 0
    if kept + draft.size_bytes > PACKAGES_BYTES_MOST:
        raise Refused(
            "packages_full",
            _("The team's packages fill their %(most)d GiB: use one that is there.")
            % {"most": PACKAGES_BYTES_MOST >> 30},
            status=409,
        )


def _named(flaw: BadPackage) -> str:
    return f"({ascii(flaw.member)[1:-1][:120]})" if flaw.member else ""
