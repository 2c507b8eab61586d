"""What was foretold of jobs that run by a plan, and what became of it."""

from __future__ import annotations

from django.db import models
from django.db.models import Index, UniqueConstraint
from django.db.models.functions import Now


class Prediction(models.Model):
    """What a plan said of a job when it was submitted, and beside it what was measured.

    job_id, attempt: numbers, for jobs know nothing of plans. plan: as regatta.planning.document
    writes it. usd_per_hour: None where a price was unknown. tokens: of the whole training, 0 where
    nobody said. measured_…: None while the attempt goes on, or where it never told; `settled_at`
    says which. steps: how many the median is of, those of the warm-up left out.
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
