"""Where jobs send their metrics; beside the REST API, without its parts that cost time."""

from __future__ import annotations

from django.urls import path

from apps.insights import ingest

app_name = "ingest"
urlpatterns = [path("api/v1/telemetry", ingest.telemetry, name="telemetry")]
