"""Addresses of plans, sizing, chips, and the record of error."""

from __future__ import annotations

from django.urls import path

from apps.advisor import catalogue_views, mixed_views, plan_views, score_views, sizing_views

app_name = "advisor"
urlpatterns = [
    path("t/<slug:team>/plan/", plan_views.explore, name="explore"),
    path("t/<slug:team>/plan/mixed/", mixed_views.mixed, name="mixed"),
    path("t/<slug:team>/plan/size/", sizing_views.size, name="size"),
    path("t/<slug:team>/plan/chips/", catalogue_views.chips, name="chips"),
    path("t/<slug:team>/plan/chips/<str:chip>/", catalogue_views.chip, name="chip"),
    path("t/<slug:team>/plan/add-chip/", catalogue_views.add_chip, name="add_chip"),
    path("t/<slug:team>/plan/compare-chips/", catalogue_views.compare, name="compare"),
    path("t/<slug:team>/plan/expected/", score_views.expected, name="expected"),
    path("t/<slug:team>/plan/record/", score_views.record, name="record"),
    path("t/<slug:team>/plan/jobs/<int:pk>/", score_views.job, name="job"),
]
