"""Addresses of pages about people."""

from __future__ import annotations

from django.urls import path

from apps.accounts import views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign_in"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("link/<str:code>/", views.link, name="link"),
    path("t/<slug:team>/members/", views.team, name="team"),
    path("t/<slug:team>/members/<int:pk>/", views.member, name="member"),
    path("t/<slug:team>/tokens/", views.tokens, name="tokens"),
    path("t/<slug:team>/tokens/<int:pk>/revoke/", views.revoke, name="revoke"),
]
