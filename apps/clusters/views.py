"""Pages about clusters. What jobs and costs know of one comes by their own addresses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.forms import BaseForm
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.clusters import selectors, services, texts
from apps.clusters.forms import ClusterForm, ResizeForm
from apps.clusters.models import Cluster, Node
from apps.http.pages import refuse, render_page
from apps.http.problems import Refused
from apps.lifecycle.models import Event
from regatta import providers
from regatta.lifecycle.cluster import ClusterState, Desired, Role

MOST_SHOWN = 200
_EVENTS_SHOWN = 60
# What the portal can start clusters on; one without a provider of its name is not offered.
PROVIDERS = [
    (
        "local",
        "laptop",
        gettext_lazy("This machine"),
        gettext_lazy("Real Ray nodes as processes of this computer, closed to the outside."),
    ),
]


@access(Scope.CLUSTERS_READ)
@require_GET
def listing(request: PortalRequest) -> HttpResponse:
    rows = list(Cluster.objects.present().filter(team=request.team)[:MOST_SHOWN])
    by_cluster: dict[int, list[Node]] = {row.pk: [] for row in rows}
    for node in Node.objects.live().filter(cluster__in=rows):
        by_cluster[node.cluster_id].append(node)
    context = {
        "rows": [_shown(row, by_cluster[row.pk]) for row in rows],
        "moving": any(_is_moving(row) for row in rows),
    }
    return render_page(request, "clusters/list.html", context, part="table")


@access(Scope.CLUSTERS_READ)
@require_GET
def detail(request: PortalRequest, pk: int) -> HttpResponse:
    return _detail(request, _mine(request, pk), form=None)


@access(Scope.CLUSTERS_WRITE)
@require_http_methods(["GET", "POST"])
def create(request: PortalRequest) -> HttpResponse:
    form = ClusterForm(request.POST or None)
    if form.is_valid():
        try:
            made = services.create_cluster(team=request.team, actor=request.actor, **form.wish())
        except Refused as error:
            refuse(form, error)
        except ValidationError as error:
            _say(form, error)
        else:
            return redirect("clusters:detail", request.team.slug, made.pk)
    context = {"form": form, "providers": [one for one in PROVIDERS if one[0] in providers.NAMES]}
    status = 422 if form.errors else 200
    return render_page(request, "clusters/form.html", context, status=status)


@access(Scope.CLUSTERS_WRITE)
@require_POST
def resize(request: PortalRequest, pk: int) -> HttpResponse:
    cluster, form = _mine(request, pk), ResizeForm(request.POST)
    if form.is_valid():
        try:
            services.resize_cluster(cluster, actor=request.actor, **form.cleaned_data)
        except Refused as error:
            refuse(form, error)
        except ValidationError as error:
            _say(form, error)
        else:
            messages.success(request, _("The cluster is being resized."))
            return redirect("clusters:detail", request.team.slug, pk)
    return _detail(request, cluster, form=form)


@access(Scope.CLUSTERS_WRITE)
@require_POST
def start(request: PortalRequest, pk: int) -> HttpResponse:
    return _want(request, pk, Desired.RUNNING, _("The cluster is being started."))


@access(Scope.CLUSTERS_WRITE)
@require_POST
def stop(request: PortalRequest, pk: int) -> HttpResponse:
    return _want(request, pk, Desired.STOPPED, _("The cluster is being stopped."))


@access(Scope.CLUSTERS_WRITE)
@require_POST
def delete(request: PortalRequest, pk: int) -> HttpResponse:
    return _want(request, pk, Desired.DELETED, _("The cluster is being deleted."))


def _want(request: PortalRequest, pk: int, desired: Desired, said: str) -> HttpResponse:
    try:
        services.want(_mine(request, pk), desired=desired, actor=request.actor)
    except Refused as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, said)
    return redirect("clusters:detail", request.team.slug, pk)


def _detail(request: PortalRequest, cluster: Cluster, *, form: ResizeForm | None) -> HttpResponse:
    live = list(Node.objects.live().filter(cluster=cluster))
    past = Node.objects.filter(cluster=cluster).exclude(pk__in=[node.pk for node in live])
    names = {node.subject: node.name for node in Node.objects.filter(cluster=cluster)}
    subjects = [cluster.subject, *names]
    events = Event.objects.filter(subject__in=subjects).order_by("-pk")[:_EVENTS_SHOWN]
    context = {
        **_shown(cluster, live),
        "nodes": [(node, texts.node_look(node.state), texts.ROLES[node.role]) for node in live],
        "past_nodes": past.count(),
        "events": [_told(event, names) for event in events],
        "form": form or ResizeForm(initial={"workers": cluster.workers}),
        "asked": form is not None,
        "moving": _is_moving(cluster),
        "can_start": cluster.state in {ClusterState.STOPPED, ClusterState.FAILED},
        "gone": cluster.desired == Desired.DELETED,
        "last_words": selectors.last_words(cluster),
    }
    status = 422 if form is not None and form.errors else 200
    part = "events" if request.htmx.target == "events" else "live"
    return render_page(request, "clusters/detail.html", context, part=part, status=status)


def _shown(cluster: Cluster, live: Iterable[Node]) -> dict[str, Any]:
    ready = [node for node in live if node.state == "ready"]
    workers = [node for node in ready if node.role == Role.WORKER]
    return {
        "cluster": cluster,
        "look": texts.look(cluster.state, unseen=cluster.unknown_since is not None),
        "why": texts.sentence(cluster.reason or cluster.state),
        "workers_ready": len(workers),
        "cpus": sum(node.cpus for node in ready),
        "memory_bytes": sum(node.memory_bytes for node in ready if node.cpus),
        "chips": sum(node.chips for node in ready),
    }


def _told(event: Event, names: dict[str, str]) -> dict[str, Any]:
    of_node = event.subject in names
    look = texts.node_look(event.new) if of_node else texts.look(event.new)
    return {
        "at": event.at,
        "look": look,
        "who": names.get(event.subject, ""),
        "why": texts.sentence(event.reason) or event.reason,
        "quote": event.detail.get("quote", ""),
        "actor": event.actor,
    }


def _is_moving(cluster: Cluster) -> bool:
    """Whether something will change by itself, so that a page should look again."""
    still = {ClusterState.STOPPED: Desired.STOPPED, ClusterState.READY: Desired.RUNNING}
    settled = still.get(ClusterState(cluster.state)) == cluster.desired
    return not (settled or cluster.state == ClusterState.DELETED)


def _mine(request: PortalRequest, pk: int) -> Cluster:
    cluster: Cluster = get_object_or_404(Cluster, team=request.team, pk=pk)
    return cluster


def _say(form: BaseForm, error: ValidationError) -> None:
    """Say what the model refuses at the form's own fields, whose names are nearly the same."""
    renamed = {"node_memory_bytes": "node_memory_gib"}
    for name, said in error.message_dict.items():
        field = renamed.get(name, name)
        form.add_error(field if field in form.fields else None, [*said])
