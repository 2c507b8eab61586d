"""Prices and meters in the admin console: a price is added and never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from apps.costs import services
from apps.costs.models import Meter, PriceInterval
from apps.http.problems import Refused
from apps.lifecycle.admin import ReadOnlyAdmin

_GIVEN = ("team", "kind", "usd_per_hour", "from_at", "basis", "note")


@admin.register(PriceInterval)
class PriceIntervalAdmin(ReadOnlyAdmin):
    list_display = ["kind", "team", "usd_per_hour", "from_at", "to_at", "basis", "set_by"]
    list_filter = ["basis", "kind"]
    fields = _GIVEN

    def has_add_permission(self, request: HttpRequest) -> bool:
        return True  # the console is open to platform admins alone

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().add_view(request, *args, **kwargs)
        except Refused as error:
            messages.error(request, error.detail)
            return redirect(request.path)

    def save_model(
        self, request: HttpRequest, obj: PriceInterval, form: Any, change: bool
    ) -> None:
        wanted = {name: getattr(obj, name) for name in _GIVEN}
        obj.pk = services.set_price(**wanted, actor=f"user:{request.user.get_username()}").pk


@admin.register(Meter)
class MeterAdmin(ReadOnlyAdmin):
    list_display = ["name", "on", "team", "kind", "quantity", "started_at", "stopped_at"]
    list_filter = ["kind", "team"]
    search_fields = ["name", "on"]
