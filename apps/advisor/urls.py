"""Addresses of plans, sizing, chips, and the record of error."""

from __future__ import annotations

from django.urls import path

from apps.advisor import plan_views

app_name = "advisor"
urlpatterns = [
    path("t/<slug:team>/plan/", plan_views.explore, name="explore"),
]
