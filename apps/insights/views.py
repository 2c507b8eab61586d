"""Panels that other pages hold by their address, each also a page of its own, and dashboards."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.clusters import selectors as clusters
from apps.http.pages import render_page
from apps.insights import charts, selectors
from apps.insights.heat_map import LEVELS, heat_map
from apps.insights.selectors import WINDOWS
from apps.jobs import selectors as jobs

WINDOW_NAMES = {
    "15m": gettext_lazy("15 minutes"),
    "1h": gettext_lazy("1 hour"),
    "24h": gettext_lazy("24 hours"),
}


@access(Scope.JOBS_READ)
@require_GET
def job(request: PortalRequest, pk: int) -> HttpResponse:
    """What a job's latest attempt reported, as charts or as tables."""
    row = get_object_or_404(jobs.jobs(request.team), pk=pk)
    attempt = jobs.latest_attempt(row)
    series = [selectors.series(head) for head in selectors.heads(attempt.pk)]
    context = {
        "job": row,
        "charts": charts.job_charts(series),
        "dropped": selectors.dropped(attempt.pk),
        "as_table": "table" in request.GET,
    }
    return render_page(request, "insights/job.html", context, part="panel")


@access(Scope.CLUSTERS_READ)
@require_GET
def cluster_heat_map(request: PortalRequest, pk: int) -> HttpResponse:
    """Nodes by accelerator, as last seen."""
    context = {
        "cluster": _cluster(request, pk),
        "map": heat_map(clusters.live_nodes(pk), selectors.latest_samples(pk)),
        "levels": range(LEVELS),
    }
    return render_page(request, "insights/heat_map.html", context, part="panel")


@access(Scope.CLUSTERS_READ)
@require_GET
def cluster(request: PortalRequest, pk: int) -> HttpResponse:
    """What a cluster used over time, as charts or as tables."""
    window = WINDOWS.get(request.GET.get("window", ""), WINDOWS["15m"])
    uses = selectors.use_over_time(pk, window)
    context = {
        "cluster": _cluster(request, pk),
        "charts": charts.use_charts(uses) if uses else [],
        "id": f"use-{pk}-{window.name}",
        "window": window.name,
        "windows": WINDOW_NAMES.items(),
        "as_table": "table" in request.GET,
    }
    return render_page(request, "insights/cluster.html", context, part="panel")


@access(Scope.CLUSTERS_READ)
@require_GET
def home(request: PortalRequest) -> HttpResponse:
    """What the team's clusters have given to work, against what that work uses."""
    context = {"use": selectors.use_now(request.team.pk)}
    return render_page(request, "insights/home.html", context, part="panel")


@access(Scope.CLUSTERS_READ)
@require_GET
def dashboard(request: PortalRequest) -> HttpResponse:
    """Every live cluster of the team at a glance."""
    names = clusters.present_names(request.team)
    live = {one.pk for one in clusters.live_clusters() if one.pk in names}
    rows = [(pk, name) for pk, name in names.items() if pk in live]
    return render_page(request, "insights/dashboard.html", {"rows": rows})


def _cluster(request: PortalRequest, pk: int) -> dict[str, int | str]:
    """Its id and name. Raises: Http404 for another team's."""
    if clusters.team_id(pk) != request.team.pk:
        raise Http404
    return {"pk": pk, "name": clusters.names([pk])[pk]}
