"""Metrics and samples in the admin console; points have no page of their own, being millions."""

from __future__ import annotations

from django.contrib import admin

from apps.insights.models import MetricKey, NodeMinute, NodeSample, SeriesHead, TelemetryStream
from apps.lifecycle.admin import ReadOnlyAdmin


@admin.register(MetricKey)
class MetricKeyAdmin(ReadOnlyAdmin):
    list_display = ["name"]
    search_fields = ["name"]


@admin.register(TelemetryStream)
class TelemetryStreamAdmin(ReadOnlyAdmin):
    list_display = ["attempt_id", "rank", "points", "dropped", "last_seq", "first_at", "last_at"]
    search_fields = ["=attempt_id"]


@admin.register(SeriesHead)
class SeriesHeadAdmin(ReadOnlyAdmin):
    list_display = ["attempt_id", "key", "rank", "points", "step", "value", "at"]
    list_select_related = ["key"]
    search_fields = ["=attempt_id", "key__name"]


@admin.register(NodeSample)
class NodeSampleAdmin(ReadOnlyAdmin):
    list_display = ["at", "cluster_id", "node_id", "cpus_used", "memory_used_bytes"]
    search_fields = ["=cluster_id", "=node_id"]
    show_full_result_count = False


@admin.register(NodeMinute)
class NodeMinuteAdmin(ReadOnlyAdmin):
    list_display = ["minute", "cluster_id", "node_id", "samples", "cpus_used"]
    search_fields = ["=cluster_id", "=node_id"]
    show_full_result_count = False
