"""Every address of the portal."""

from __future__ import annotations

from django.contrib import admin
from django.templatetags.static import static
from django.urls import URLPattern, URLResolver, include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from apps.accounts.access import PUBLIC, access
from apps.config.api import api
from apps.web import health

handler400 = "apps.web.errors.bad_request"
handler404 = "apps.web.errors.not_found"
handler500 = "apps.web.errors.server_error"
# Where browsers look that were told of no icon; its address is known once the files are collected.
_icon = RedirectView.as_view(url=lazy(static, str)("img/favicon.svg"))
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("favicon.ico", access(PUBLIC)(_icon)),
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
    path("", include("apps.advisor.urls")),
]
