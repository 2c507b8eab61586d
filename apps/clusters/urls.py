"""Addresses of the pages about clusters."""

from __future__ import annotations

from django.urls import path

from apps.clusters import views

app_name = "clusters"
urlpatterns = [
    path("t/<slug:team>/clusters/", views.listing, name="list"),
    path("t/<slug:team>/clusters/new/", views.create, name="create"),
    path("t/<slug:team>/clusters/<int:pk>/", views.detail, name="detail"),
    path("t/<slug:team>/clusters/<int:pk>/resize/", views.resize, name="resize"),
    path("t/<slug:team>/clusters/<int:pk>/start/", views.start, name="start"),
    path("t/<slug:team>/clusters/<int:pk>/stop/", views.stop, name="stop"),
    path("t/<slug:team>/clusters/<int:pk>/delete/", views.delete, name="delete"),
]
