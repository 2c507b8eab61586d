"""Addresses of the pages about jobs."""

from __future__ import annotations

from django.urls import path

from apps.jobs import log_views, views

app_name = "jobs"
urlpatterns = [
    path("t/<slug:team>/jobs/", views.listing, name="list"),
    path("t/<slug:team>/jobs/new/", views.create, name="create"),
    path("t/<slug:team>/jobs/fit/", views.fit, name="fit"),
    path("t/<slug:team>/jobs/brief/", views.brief, name="brief"),
    path("t/<slug:team>/jobs/<int:pk>/", views.detail, name="detail"),
    path("t/<slug:team>/jobs/<int:pk>/stream", log_views.stream, name="stream"),
    path("t/<slug:team>/jobs/<int:pk>/log.txt", log_views.download, name="download"),
    path("t/<slug:team>/jobs/<int:pk>/stop/", views.stop, name="stop"),
    path("t/<slug:team>/jobs/<int:pk>/retry/", views.retry, name="retry"),
    path("t/<slug:team>/jobs/<int:pk>/delete/", views.delete, name="delete"),
]
