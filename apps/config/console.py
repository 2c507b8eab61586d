"""The admin console: Django's admin behind the portal's own sign-in."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _


class Console(AdminSite):
    """For platform admins only; the middleware has checked that before."""

    site_header = site_title = _("Regatta console")
    index_title = _("Everything the portal remembers")

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and getattr(request.user, "is_superuser", False))

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return redirect("accounts:sign_in")


class ConsoleConfig(AdminConfig):
    default_site = "apps.config.console.Console"
