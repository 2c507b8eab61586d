"""The record of moves in the admin console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.lifecycle.models import Event


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows that only the system writes: shown, never changed by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ["at", "subject", "seq", "old", "new", "reason", "actor"]
    search_fields = ["subject", "reason"]
    list_filter = ["new"]
