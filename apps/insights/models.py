"""Metrics that jobs report, and what nodes are seen to use."""

from __future__ import annotations

from django.db import models
from django.db.models import Index, UniqueConstraint
from django.db.models.functions import Now


class MetricKey(models.Model):
    """The name of a series; points hold its number."""

    name = models.CharField(max_length=80, unique=True)

    def __str__(self) -> str:
        return self.name


class TelemetryStream(models.Model):
    """One process of an attempt, and how much of what it told has arrived.

    last_seq: of the latest batch taken in; batches arrive in order, so that it alone tells a
    repeated one. dropped: points that the process had to let go, by its own word. points: stored.
    """

    attempt_id = models.BigIntegerField()
    name = models.UUIDField()
    rank = models.PositiveIntegerField()
    last_seq = models.BigIntegerField()
    dropped = models.BigIntegerField(default=0)
    points = models.BigIntegerField(default=0)
    first_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            UniqueConstraint(fields=["attempt_id", "name"], name="telemetry_stream_once")
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt_id} rank {self.rank}"


class MetricPoint(models.Model):
    """One value of one series. Written by COPY alone, and never changed.

    place: counts within the stream, so that the key is unique whatever a job reports twice.
    """

    pk = models.CompositePrimaryKey("attempt_id", "key_id", "step", "stream_id", "place")
    attempt_id = models.BigIntegerField()
    key_id = models.IntegerField()
    step = models.BigIntegerField()
    stream_id = models.BigIntegerField()
    place = models.BigIntegerField()
    rank = models.IntegerField()
    value = models.FloatField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"attempt {self.attempt_id} step {self.step}: {self.value}"


class SeriesHead(models.Model):
    """What is known of a series without reading it: its first and its latest point."""

    attempt_id = models.BigIntegerField()
    key = models.ForeignKey(MetricKey, on_delete=models.PROTECT, related_name="+")
    rank = models.IntegerField()
    points = models.BigIntegerField()
    first_step = models.BigIntegerField()
    first_value = models.FloatField()
    step = models.BigIntegerField()
    value = models.FloatField()
    at = models.DateTimeField()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["attempt_id", "key", "rank"], name="series_head_once")
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt_id} {self.key} rank {self.rank}"


class Usage(models.Model):
    """What a node used, of what it has.

    cpus, memory_bytes, chips: `_used` is measured, `_allocated` what Ray has given to work.
    chips_used: None where no chip can be asked, as simulated ones.
    """

    node_id = models.BigIntegerField()
    cluster_id = models.BigIntegerField()
    cpus = models.FloatField()
    cpus_used = models.FloatField()
    cpus_allocated = models.FloatField()
    memory_bytes = models.BigIntegerField()
    memory_used_bytes = models.BigIntegerField()
    chips = models.FloatField()
    chips_used = models.FloatField(null=True)
    chips_allocated = models.FloatField()

    class Meta:
        abstract = True


class NodeSample(Usage):
    """One look at one node."""

    at = models.DateTimeField()

    class Meta:
        indexes = [
            Index(fields=["cluster_id", "at"], name="node_sample_cluster_at"),
            Index(fields=["node_id", "at"], name="node_sample_node_at"),
            Index(fields=["at"], name="node_sample_at"),
        ]

    def __str__(self) -> str:
        return f"node {self.node_id} at {self.at}"


class NodeMinute(Usage):
    """The means of one node's samples within one minute."""

    minute = models.DateTimeField()
    samples = models.PositiveIntegerField()

    class Meta:
        constraints = [UniqueConstraint(fields=["node_id", "minute"], name="node_minute_once")]
        indexes = [
            Index(fields=["cluster_id", "minute"], name="node_minute_cluster"),
            Index(fields=["minute"], name="node_minute_minute"),
        ]

    def __str__(self) -> str:
        return f"node {self.node_id} in {self.minute}"
