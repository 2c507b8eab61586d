"""Jobs and their attempts, the packages they bring, and the secrets they may use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint
from django.db.models.functions import Coalesce, Least, Now
from django.utils.translation import gettext_lazy as _

from apps.jobs.log_models import Log, LogChunk
from apps.lifecycle.models import Moment, Stateful, StatefulQuerySet
from apps.lifecycle.nudge import announce
from regatta.lifecycle.attempt import (
    BLIND_S,
    HOLDING,
    MOVES,
    TERMINAL,
    AttemptState,
    Desired,
    Reason,
)

__all__ = ["Attempt", "Job", "Log", "LogChunk", "Package", "Secret"]

NAME_CHARS, ENTRYPOINT_CHARS = 200, 10_000
PRIORITY_MOST, RETRIES_MOST = 100, 10
QUEUED = AttemptState.QUEUED.value
_HELD = Q(state__in=sorted(state.value for state in HOLDING))
_KNOWN = Q(state__in=sorted(state.value for state in AttemptState))
_ENDED = Q(state__in=sorted(state.value for state in TERMINAL))
_LONGEST_PAUSE_S = 10.0  # between looks at a running attempt, whatever the trouble


class Source(models.TextChoices):
    """By which door a job came."""

    PAGE = "page", _("the portal's form")
    API = "api", _("the REST API")
    RAY = "ray", _("Ray's own client")


class Package(models.Model):
    """An uploaded working directory, checked and kept by the digest of its bytes.

    name: by which Ray's clients and clusters know it; until deletion, what it names never changes.
    """

    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    members = models.PositiveIntegerField()
    unpacked_bytes = models.BigIntegerField()
    uploaded_by = models.CharField(max_length=80)
    created_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["team", "name"], condition=Q(deleted_at=None), name="package_name_once"
            )
        ]
        indexes = [Index(fields=["sha256"], name="package_object", condition=Q(deleted_at=None))]

    def __str__(self) -> str:
        return self.name


class Secret(models.Model):
    """A value that jobs of a team may be given by name; nobody is shown it again."""

    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=80)
    sealed = models.TextField()
    set_by = models.CharField(max_length=80)
    set_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [UniqueConstraint(fields=["team", "name"], name="secret_name_once")]

    def __str__(self) -> str:
        return self.name


class JobQuerySet(models.QuerySet["Job"]):
    """Jobs as lists show them."""

    def kept(self) -> JobQuerySet:
        """Those that nobody deleted."""
        return self.filter(deleted_at=None)

    def in_line(self, cluster_id: int) -> JobQuerySet:
        """Who waits for a cluster, in the order in which they may start."""
        return self.filter(cluster_id=cluster_id, state=QUEUED).order_by("-priority", "id")

    def holding(self, cluster_id: int) -> JobQuerySet:
        """Who holds resources of a cluster."""
        return self.filter(_HELD, cluster_id=cluster_id)


class Job(models.Model):
    """What a person asked for. How it goes is told by its latest attempt.

    ray_id: the submission id that a Ray client chose; empty otherwise, see `ray_name`.
    env, secret_env: environment variables as text, and by the name of a secret.
    entrypoint_resources: what Ray shall reserve for the entrypoint itself.
    cpus, memory_bytes, chip, chips: what the whole job takes of its cluster, by which it queues.
    state, reason, since, generation, attempt_number, started_at, ended_at: those of the latest
    attempt, written together with its moves, so that a list needs no join; generation counts the
    moves of all attempts, and the changes of the wish.
    """

    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="+")
    cluster = models.ForeignKey("clusters.Cluster", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=NAME_CHARS)
    entrypoint = models.TextField(max_length=ENTRYPOINT_CHARS)
    package = models.ForeignKey(
        Package, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    runtime_env = models.JSONField(default=dict, blank=True)
    env = models.JSONField(default=dict, blank=True)
    secret_env = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    entrypoint_resources = models.JSONField(default=dict, blank=True)
    cpus = models.DecimalField(
        max_digits=9, decimal_places=3, default=Decimal(1), validators=[MinValueValidator(0)]
    )
    memory_bytes = models.BigIntegerField(default=0, validators=[MinValueValidator(0)])
    chip = models.CharField(max_length=60, blank=True)
    chips = models.IntegerField(default=0, validators=[MinValueValidator(0)])
    priority = models.SmallIntegerField(
        default=0,
        validators=[MinValueValidator(-PRIORITY_MOST), MaxValueValidator(PRIORITY_MOST)],
    )
    retries = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(RETRIES_MOST)]
    )
    desired = models.CharField(max_length=20, default=Desired.RUNNING.value)
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.API)
    submitted_by = models.ForeignKey(
        "accounts.User", on_delete=models.PROTECT, related_name="+", null=True
    )
    clone_of = models.ForeignKey(
        "self", on_delete=models.SET_NULL, related_name="clones", null=True, blank=True
    )
    ray_id = models.CharField(max_length=NAME_CHARS, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(null=True, blank=True)

    state = models.CharField(max_length=20, default=QUEUED)
    reason = models.CharField(max_length=80, blank=True)
    since = models.DateTimeField(db_default=Now())
    generation = models.PositiveIntegerField(default=0)
    attempt_number = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    progress = models.JSONField(default=dict, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [
            CheckConstraint(condition=_KNOWN, name="job_state_known"),
            UniqueConstraint(
                fields=["team", "ray_id"],
                condition=~Q(ray_id="") & Q(deleted_at=None),
                name="job_ray_id_once",
            ),
        ]
        indexes = [
            Index(fields=["team", "-id"], name="job_list", condition=Q(deleted_at=None)),
            Index(
                fields=["team", "state", "-id"],
                name="job_list_state",
                condition=Q(deleted_at=None),
            ),
            Index(
                fields=["team", "cluster", "-id"],
                name="job_list_cluster",
                condition=Q(deleted_at=None),
            ),
            Index(
                fields=["team", "submitted_by", "-id"],
                name="job_list_user",
                condition=Q(deleted_at=None),
            ),
            Index(
                fields=["cluster", "-priority", "id"], name="job_line", condition=Q(state=QUEUED)
            ),
            Index(fields=["cluster"], name="job_holding", condition=_HELD),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def ray_name(self) -> str:
        """The submission id under which Ray's clients know the job."""
        return self.ray_id or f"job-{self.pk}"

    @property
    def has_ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def demand(self) -> dict[str, Decimal]:
        """What it takes of a cluster, in the names that a cluster's capacity is told in."""
        chips = Decimal(self.chips)
        named = {f"chip:{self.chip}": chips} if self.chip and chips else {}
        memory = Decimal(self.memory_bytes)
        return {"cpus": self.cpus, "memory_bytes": memory, "chips": chips, **named}


class AttemptQuerySet(StatefulQuerySet):
    """Attempts by where they stand."""

    def holding(self) -> AttemptQuerySet:
        """Those that hold resources of a cluster, and have to be looked at."""
        return self.filter(_HELD)

    def ended(self) -> AttemptQuerySet:
        return self.filter(_ENDED)


class Attempt(Stateful):
    """One try of a job. Its end is final; another try is another row.

    session: the one of the cluster in which it was placed. evidence: what the verdict rests on.
    sealed_secrets: the values it was started with, sealed, until its log is kept to its ending.
    """

    MOVES = MOVES

    state = models.CharField(max_length=20, default=QUEUED)
    reason = models.CharField(max_length=80, blank=True, default=Reason.SUBMITTED.value)
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveIntegerField(default=1)
    session = models.CharField(max_length=200, blank=True)
    evidence = models.JSONField(default=dict, blank=True)
    sealed_secrets = models.TextField(default="", db_default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        constraints = [
            CheckConstraint(condition=_KNOWN, name="attempt_state_known"),
            UniqueConstraint(fields=["job", "number"], name="attempt_number_once"),
            UniqueConstraint(fields=["job"], condition=~_ENDED, name="one_live_attempt_per_job"),
        ]

    @property
    def handle(self) -> str:
        """The name of this attempt in the world; the same at every try to start it."""
        return f"job-{self.job_id}-a{self.number}"

    def advance(
        self,
        to: str,
        *,
        reason: str,
        actor: str = "system",
        detail: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> bool:
        """Move, and let the job's row tell of it in the same transaction."""
        with transaction.atomic():
            if not super().advance(to, reason=reason, actor=actor, detail=detail, **fields):
                return False
            Job.objects.filter(pk=self.job_id).update(
                state=self.state,
                reason=self.reason,
                since=self.since,
                generation=F("generation") + 1,
                started_at=self.started_at,
                ended_at=self.ended_at,
            )
            if self.state == AttemptState.STARTING:
                Log.objects.get_or_create(attempt=self)
            announce(self.subject)
        return True

    def lose_sight(self, *, now: Moment) -> None:
        """Put it off while its cluster cannot be asked; nothing else is known of it."""
        unknown_since = Coalesce("unknown_since", Now())
        self._give_back(now + timedelta(seconds=BLIND_S), unknown_since=unknown_since)

    def note_trouble(self, error: BaseException, *, now: Moment) -> None:
        """As any row, yet with pauses short enough to see soon that the trouble is over."""
        super().note_trouble(error, now=now)
        soon = Least("next_look_at", now + timedelta(seconds=_LONGEST_PAUSE_S))
        self._me().update(next_look_at=soon)
