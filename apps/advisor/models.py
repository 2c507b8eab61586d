"""Chips as a team knows them; what plans foretold of jobs, and what became of it."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint
from django.db.models.functions import Now

from apps.lifecycle.models import StatefulQuerySet
from regatta.hardware.catalogue import QUALITIES

CHIP_NAME_CHARS, SOURCE_CHARS = 80, 200


class TeamChip(models.Model):
    """A chip that the shipped catalogue lacks. key: its name without case, spaces and dashes.

    Its figures are rows of ChipFigure. Once it is removed its name is free again.
    """

    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=CHIP_NAME_CHARS)
    key = models.CharField(max_length=CHIP_NAME_CHARS)
    vendor = models.CharField(max_length=80)
    form_factor = models.CharField(max_length=80, blank=True)
    note = models.CharField(max_length=SOURCE_CHARS, blank=True)
    added_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["team", "key"], condition=Q(removed_at=None), name="one_chip_of_a_name"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def is_there(self, at: datetime) -> bool:
        """Whether the team had it then."""
        return self.added_at <= at and (self.removed_at is None or at < self.removed_at)


class ChipFigure(models.Model):
    """A team's own figure of a chip, from `from_at` up to, not including, `to_at`.

    It goes before that of the shipped catalogue while it holds. A new one closes the one before,
    and no figure is changed afterwards.
    """

    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="+")
    chip = models.CharField(max_length=CHIP_NAME_CHARS)
    figure = models.CharField(max_length=40)
    value = models.FloatField()
    quality = models.CharField(max_length=20)
    source = models.CharField(max_length=SOURCE_CHARS)
    from_at = models.DateTimeField()
    to_at = models.DateTimeField(null=True, blank=True)
    set_by = models.CharField(max_length=120, blank=True)

    class Meta:
        constraints = [
            CheckConstraint(condition=Q(value__gt=0), name="chip_figure_above_0"),
            CheckConstraint(condition=Q(quality__in=QUALITIES), name="chip_figure_quality_known"),
            CheckConstraint(
                condition=Q(to_at=None) | Q(to_at__gt=F("from_at")), name="chip_figure_has_length"
            ),
            UniqueConstraint(
                fields=["team", "chip", "figure"],
                condition=Q(to_at=None),
                name="one_open_chip_figure",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.chip}: {self.figure} {self.value:g}"


class PlanSearch(models.Model):
    """The best plan by count of one kind of chip, or over several kinds, or the wish for it.

    key: of `asked`, which holds everything that the search depends on and nothing of any team, so
    that whoever asks the same shares the answer. found: None until it is there; took_s: how long
    it took. tries: how often somebody began it.
    """

    key = models.CharField(max_length=64, unique=True)
    asked = models.JSONField()
    found = models.JSONField(null=True, blank=True)
    took_s = models.FloatField(null=True, blank=True)
    tries = models.PositiveIntegerField(default=0)
    made_at = models.DateTimeField(db_default=Now())
    next_look_at = models.DateTimeField(null=True, blank=True, db_index=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)

    objects = StatefulQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.asked.get('kind', 'search')}: {self.key[:8]}"


class Prediction(models.Model):
    """What a plan said of a job when it was submitted, and beside it what was measured.

    job_id, attempt: numbers, for jobs know nothing of plans. plan: as regatta.planning.document
    writes it. usd_per_hour: None where a price was unknown. tokens: of the whole training, 0 where
    nobody said. measured_…: None while the attempt goes on, or where it never told; `settled_at`
    says which. steps: how many the median is of, those of the warm-up left out; trained_steps:
    all.
    """

    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="+")
    job_id = models.BigIntegerField()
    plan = models.JSONField()
    iteration_s = models.FloatField()
    peak_bytes = models.FloatField()
    tokens_per_step = models.FloatField()
    tokens = models.FloatField(default=0)
    usd_per_hour = models.DecimalField(max_digits=16, decimal_places=6, null=True)
    made_at = models.DateTimeField(db_default=Now())
    attempt = models.PositiveIntegerField(null=True)
    steps = models.PositiveIntegerField(default=0)
    trained_steps = models.PositiveBigIntegerField(default=0)
    measured_iteration_s = models.FloatField(null=True)
    measured_peak_bytes = models.FloatField(null=True)
    measured_hours = models.FloatField(null=True)
    measured_usd = models.DecimalField(max_digits=16, decimal_places=6, null=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [UniqueConstraint(fields=["job_id"], name="prediction_once")]
        indexes = [Index(fields=["team", "-job_id"], name="prediction_of_team")]

    def __str__(self) -> str:
        return f"job {self.job_id}: {self.iteration_s:.4g} s a step"
