"""Teams' own chips, predictions and searches of plans in the admin console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.advisor.models import ChipFigure, PlanSearch, Prediction, TeamChip
from apps.lifecycle.admin import ReadOnlyAdmin


@admin.register(TeamChip)
class TeamChipAdmin(ReadOnlyAdmin):
    list_display = ["name", "team", "vendor", "added_at", "removed_at"]
    list_filter = ["team"]
    search_fields = ["name", "vendor"]


@admin.register(ChipFigure)
class ChipFigureAdmin(ReadOnlyAdmin):
    list_display = ["chip", "figure", "value", "quality", "team", "from_at", "to_at", "set_by"]
    list_filter = ["quality", "team"]
    search_fields = ["chip", "figure"]


@admin.register(Prediction)
class PredictionAdmin(ReadOnlyAdmin):
    list_display = ["job_id", "team", "iteration_s", "measured_iteration_s", "settled_at"]
    list_filter = ["team"]
    search_fields = ["=job_id"]


@admin.register(PlanSearch)
class PlanSearchAdmin(ReadOnlyAdmin):
    """One that is deleted is done anew for the next who asks."""

    list_display = ["key", "made_at", "took_s", "tries", "lease_until"]
    search_fields = ["key"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True
