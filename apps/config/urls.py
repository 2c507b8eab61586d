"""Every address of the portal."""

from __future__ import annotations

from importlib.util import find_spec

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
]
for _app in ("jobs.ray", "insights.ingest"):
    if find_spec(f"apps.{_app}_urls"):
        urlpatterns.append(path("", include(f"apps.{_app}_urls")))
for _app in ("web", "accounts", "clusters", "jobs", "costs", "insights"):
    if find_spec(f"apps.{_app}.urls"):
        urlpatterns.append(path("", include(f"apps.{_app}.urls")))
