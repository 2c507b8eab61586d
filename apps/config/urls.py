"""Every address of the portal."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from apps.config.api import api
from apps.web import health

handler400 = "apps.web.errors.bad_request"
handler404 = "apps.web.errors.not_found"
handler500 = "apps.web.errors.server_error"
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("api/v1/", api.urls),
    path("admin/", admin.site.urls),
    path("", include("apps.jobs.ray_urls")),
    path("", include("apps.insights.ingest_urls")),
    path("", include("apps.web.urls")),
    path("", include("apps.accounts.urls")),
    path("", include("apps.clusters.urls")),
    path("", include("apps.jobs.urls")),
    path("", include("apps.costs.urls")),
    path("", include("apps.insights.urls")),
]
