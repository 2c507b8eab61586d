"""Addresses of the shell."""

from __future__ import annotations

from django.urls import path

from apps.web import views

app_name = "web"
urlpatterns = [
    path("", views.start, name="start"),
    path("t/<slug:team>/", views.home, name="home"),
    path("language/", views.language, name="language"),
]
