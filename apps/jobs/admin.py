"""Jobs in the admin console: shown, and acted upon through the services alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from apps.http.problems import Refused
from apps.jobs import packages, secrets, services
from apps.jobs.log_models import Log, LogChunk
from apps.jobs.models import Attempt, Job, Package, Secret
from apps.lifecycle.admin import ReadOnlyAdmin


def _actor(request: HttpRequest) -> str:
    return f"user:{request.user.get_username()}"


def _tell(request: HttpRequest, count: int) -> None:
    said = ngettext("%(count)d row was seen to.", "%(count)d rows were seen to.", count)
    messages.success(request, said % {"count": count})


def _each(request: HttpRequest, rows: Iterable[Any], work: Callable[..., Any]) -> None:
    """Do `work` to each row, and tell of every refusal."""
    done = 0
    for row in rows:
        try:
            work(row, actor=_actor(request))
            done += 1
        except Refused as refusal:
            messages.error(request, f"{row}: {refusal.detail}")
    if done:
        _tell(request, done)


class Attempts(admin.TabularInline[Attempt, Any]):
    """A job's tries, with what each verdict rests on."""

    model = Attempt
    extra = 0
    can_delete = False
    fields = ("number", "state", "reason", "since", "started_at", "ended_at", "evidence")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ["id", "name", "team", "cluster", "state", "reason", "priority", "created_at"]
    list_filter = ["state", "source", "team"]
    list_select_related = ["team", "cluster"]
    search_fields = ["name", "ray_id"]
    show_full_result_count = False  # counting a hundred thousand rows for a footer
    ordering = ["-id"]
    inlines = [Attempts]
    actions = ["stop", "try_again"]

    @admin.action(description=_("Stop the chosen jobs"), permissions=["view"])
    def stop(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        _each(request, rows, services.stop_job)

    @admin.action(description=_("Give the chosen jobs another attempt"), permissions=["view"])
    def try_again(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        _each(request, rows, services.retry_job)


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    list_display = ["id", "handle", "state", "reason", "since", "next_look_at", "troubles"]
    list_filter = ["state", "reason"]
    list_select_related = ["job"]
    exclude = ["sealed_secrets"]
    search_fields = ["job__name"]
    show_full_result_count = False
    ordering = ["-id"]
    actions = ["look_again"]

    @admin.action(description=_("Look at the chosen attempts again now"), permissions=["view"])
    def look_again(self, request: HttpRequest, rows: QuerySet[Attempt]) -> None:
        _tell(request, services.look_again([row.pk for row in rows]))


@admin.register(Log)
class LogAdmin(ReadOnlyAdmin):
    list_display = ["attempt", "stored_bytes", "ending", "ended_at", "lease_until"]
    list_filter = ["ending"]
    list_select_related = ["attempt"]


@admin.register(LogChunk)
class LogChunkAdmin(ReadOnlyAdmin):
    list_display = ["id", "attempt", "byte_from", "byte_to", "at"]
    list_select_related = ["attempt"]
    show_full_result_count = False
    exclude = ["data"]


@admin.register(Package)
class PackageAdmin(ReadOnlyAdmin):
    list_display = ["name", "team", "size_bytes", "uploaded_by", "created_at", "deleted_at"]
    list_filter = ["team"]
    search_fields = ["name", "sha256"]
    actions = ["delete"]

    @admin.action(description=_("Delete the chosen packages"), permissions=["view"])
    def delete(self, request: HttpRequest, rows: QuerySet[Package]) -> None:
        _each(request, rows, packages.delete_package)


@admin.register(Secret)
class SecretAdmin(ReadOnlyAdmin):
    """Names only: not even an admin is shown a value."""

    list_display = ["name", "team", "set_by", "set_at"]
    list_filter = ["team"]
    exclude = ["sealed"]
    actions = ["forget"]

    @admin.action(description=_("Forget the chosen secrets"), permissions=["view"])
    def forget(self, request: HttpRequest, rows: QuerySet[Secret]) -> None:
        _each(request, rows, secrets.delete_secret)
