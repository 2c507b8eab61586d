"""The logs of attempts, as the portal keeps them while the jobs run."""

from __future__ import annotations

from django.db import models
from django.db.models import BigIntegerField, CheckConstraint, F, Func, Index, Q, UniqueConstraint
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class Ending(models.TextChoices):
    """How the keeping of a log ended; empty while it goes on."""

    COMPLETE = "complete", _("complete")
    TOO_LONG = "too_long", _("cut: longer than the portal keeps")
    UNREACHABLE = "unreachable", _("cut: the cluster could not be asked for the rest")


class Log(models.Model):
    """How far an attempt's log is kept, and who follows it.

    stored_bytes: also where to go on in the job's own file, since masking keeps every length.
    lease_token: the fence: of two followers only the one it names can add to the log.
    """

    attempt = models.OneToOneField(
        "jobs.Attempt", on_delete=models.PROTECT, primary_key=True, related_name="log"
    )
    stored_bytes = models.BigIntegerField(default=0)
    ending = models.CharField(max_length=20, choices=Ending, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [Index(fields=["lease_until"], condition=Q(ending=""), name="log_followed")]
        constraints = [
            CheckConstraint(condition=Q(ending__in=["", *Ending.values]), name="log_ending_known")
        ]

    def __str__(self) -> str:
        return f"log of jobs.attempt:{self.attempt_id}"

    @property
    def is_truncated(self) -> bool:
        """Whether the job wrote, or may have written, more than is kept."""
        return self.ending in {Ending.TOO_LONG, Ending.UNREACHABLE}


class LogChunk(models.Model):
    """Some bytes of a log, ending where a character ends. Written once, never changed."""

    attempt = models.ForeignKey("jobs.Attempt", on_delete=models.PROTECT, related_name="+")
    byte_from = models.BigIntegerField()
    byte_to = models.BigIntegerField()
    data = models.BinaryField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            UniqueConstraint(fields=["attempt", "byte_from"], name="log_chunk_once"),
            CheckConstraint(
                condition=Q(
                    byte_to=F("byte_from")
                    + Func("data", function="octet_length", output_field=BigIntegerField())
                )
                & Q(byte_to__gt=F("byte_from")),
                name="log_chunk_length",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.byte_from} to {self.byte_to} of jobs.attempt:{self.attempt_id}"
