"""Where Ray's own clients find the portal: at its root, and below a cluster's own address."""

from __future__ import annotations

from django.urls import include, path

from apps.jobs import ray_api

app_name = "ray"
_calls = [
    path("api/version", ray_api.version, name="version"),
    path("api/packages/<str:protocol>/<str:name>", ray_api.package, name="package"),
    path("api/jobs/", ray_api.jobs, name="jobs"),
    path("api/jobs/<str:name>", ray_api.job, name="job"),
    path("api/jobs/<str:name>/stop", ray_api.stop, name="stop"),
    path("api/jobs/<str:name>/logs", ray_api.job_logs, name="logs"),
]
urlpatterns = [
    *_calls,
    path("api/v1/clusters/<int:cluster>/ray/", include((_calls, "of_cluster"))),
]
