"""Kept answers in the admin console, without their bodies."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.http.models import KeptAnswer


@admin.register(KeptAnswer)
class KeptAnswerAdmin(admin.ModelAdmin[Any]):
    list_display = ["at", "route", "key", "status"]
    fields = ["at", "route", "key", "status"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
