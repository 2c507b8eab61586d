"""People in the admin console."""

from __future__ import annotations

from typing import Any, TypeVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from apps.accounts import services
from apps.accounts.models import (
    ApiToken,
    AuditEvent,
    Membership,
    OneTimeLink,
    SignInTrouble,
    Team,
    User,
)
from apps.lifecycle.admin import ReadOnlyAdmin

M = TypeVar("M", User, Team)


class Memberships(admin.TabularInline[Membership, Any]):
    model = Membership
    extra = 0


class _WithMemberships(admin.ModelAdmin[M]):
    """Who is taken out of a team here loses their tokens of it, as by the team's own page."""

    inlines = [Memberships]

    def save_formset(
        self, request: HttpRequest, form: ModelForm[M], formset: Any, change: bool
    ) -> None:
        super().save_formset(request, form, formset, change)
        for row in formset.deleted_objects:
            services.end_tokens(row.user, row.team, actor=f"user:{request.user.get_username()}")


@admin.register(User)
class UserAdmin(_WithMemberships[User]):
    list_display = ["username", "full_name", "is_active", "is_superuser", "last_login"]
    search_fields = ["username", "full_name", "email"]
    fields = ["username", "full_name", "email", "is_active", "is_superuser", "last_login"]
    readonly_fields = ["last_login"]


@admin.register(Team)
class TeamAdmin(_WithMemberships[Team]):
    list_display = ["slug", "name", "created_at"]
    search_fields = ["slug", "name"]


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ["prefix", "name", "user", "team", "expires_at", "last_used_at", "revoked_at"]
    list_filter = ["team"]
    exclude = ["sha256"]
    actions = ["revoke"]

    @admin.action(description=_("Revoke the chosen tokens"), permissions=["view"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiToken]) -> None:
        for token in rows:
            services.revoke_token(token, actor=f"user:{request.user.get_username()}")
        messages.success(request, _("The tokens work no more."))


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "team", "actor", "action", "subject", "request_id"]
    list_filter = ["team", "action"]
    search_fields = ["actor", "subject"]


@admin.register(OneTimeLink)
class OneTimeLinkAdmin(ReadOnlyAdmin):
    list_display = ["user", "created_at", "expires_at", "used_at"]
    exclude = ["sha256"]


@admin.register(SignInTrouble)
class SignInTroubleAdmin(ReadOnlyAdmin):
    list_display = ["key", "count", "until"]
