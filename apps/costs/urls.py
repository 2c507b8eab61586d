"""Addresses of the pages about prices and costs."""

from __future__ import annotations

from django.urls import path

from apps.costs import price_views, views

app_name = "costs"
urlpatterns = [
    path("t/<slug:team>/costs/", views.overview, name="overview"),
    path("t/<slug:team>/costs/clusters/<int:pk>/", views.cluster, name="cluster"),
    path("t/<slug:team>/costs/prices/", price_views.prices, name="prices"),
    path("t/<slug:team>/costs/estimate/", views.estimate, name="estimate"),
]
