"""Addresses of panels and dashboards."""

from __future__ import annotations

from django.urls import path

from apps.insights import views

app_name = "insights"
urlpatterns = [
    path("t/<slug:team>/insights/", views.dashboard, name="dashboard"),
    path("t/<slug:team>/insights/home/", views.home, name="home"),
    path("t/<slug:team>/insights/jobs/<int:pk>/", views.job, name="job"),
    path("t/<slug:team>/insights/clusters/<int:pk>/", views.cluster, name="cluster"),
    path(
        "t/<slug:team>/insights/clusters/<int:pk>/nodes/", views.cluster_heat_map, name="heat_map"
    ),
]
