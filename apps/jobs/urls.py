"""Addresses of the pages about jobs."""

from __future__ import annotations

from django.urls import path

from apps.jobs import log_views, secret_views, views

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
    path("t/<slug:team>/secrets/", secret_views.listing, name="secrets"),
    path("t/<slug:team>/secrets/<str:name>/", secret_views.replace, name="replace_secret"),
    path("t/<slug:team>/secrets/<str:name>/delete/", secret_views.delete, name="delete_secret"),
]
