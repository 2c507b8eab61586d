"""Clusters and nodes in the admin console: shown, and asked to move, never moved by hand."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.clusters import services
from apps.clusters.models import Cluster, Node
from apps.http.problems import Refused
from apps.lifecycle.admin import ReadOnlyAdmin
from regatta.lifecycle.cluster import Desired


@admin.register(Cluster)
class ClusterAdmin(ReadOnlyAdmin):
    list_display = ["pk", "name", "team", "state", "reason", "workers", "since", "trouble"]
    list_filter = ["state", "provider", "team"]
    search_fields = ["name"]
    exclude = ["token"]
    actions = ["look_again", "start", "stop"]

    @admin.action(
        description=gettext_lazy("Look at the chosen clusters now"), permissions=["view"]
    )
    def look_again(self, request: HttpRequest, rows: QuerySet[Cluster]) -> None:
        for cluster in rows:
            services.look_again(cluster)
        messages.success(request, _("They are being looked at."))

    @admin.action(description=gettext_lazy("Start the chosen clusters"), permissions=["view"])
    def start(self, request: HttpRequest, rows: QuerySet[Cluster]) -> None:
        _want(request, rows, Desired.RUNNING)

    @admin.action(description=gettext_lazy("Stop the chosen clusters"), permissions=["view"])
    def stop(self, request: HttpRequest, rows: QuerySet[Cluster]) -> None:
        _want(request, rows, Desired.STOPPED)


@admin.register(Node)
class NodeAdmin(ReadOnlyAdmin):
    list_display = ["name", "cluster", "role", "kind", "state", "reason", "since", "address"]
    list_filter = ["state", "role", "kind"]
    search_fields = ["name", "cluster__name"]


def _want(request: HttpRequest, rows: QuerySet[Cluster], desired: Desired) -> None:
    for cluster in rows:
        try:
            services.want(cluster, desired=desired, actor=f"user:{request.user.get_username()}")
        except Refused as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, _("%(name)s has been asked.") % {"name": cluster.name})
