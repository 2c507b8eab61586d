"""What is to be expected of a plan's job, and how it was borne out."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_GET

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.advisor import plan_texts, score_selectors
from apps.advisor.plan_money import Money, money
from apps.advisor.score_selectors import Foretold
from apps.clusters import selectors as clusters
from apps.http.pages import render_page
from apps.jobs import commands
from apps.jobs import selectors as jobs


@access(Scope.JOBS_READ)
@require_GET
def expected(request: PortalRequest) -> HttpResponse:
    """What a plan foretells of the job that a form asks for: time, memory, money, an end."""
    context: dict[str, Any] = {}
    try:
        found = score_selectors.foretell(request.GET.get("plan", ""), request.team)
    except ValueError as error:
        context["wrong"] = str(error)
    else:
        words = plan_texts.short(found.item.plan)
        context = {"found": found, "words": words, "money": _money(request, found)}
    return render_page(request, "advisor/expected.html", context, part="expected")


@access(Scope.JOBS_READ)
@require_GET
def job(request: PortalRequest, pk: int) -> HttpResponse:
    """A job's prediction beside what it took, for its page."""
    row = get_object_or_404(jobs.jobs(request.team), pk=pk)
    context = {"job": row, "one": score_selectors.comparison(request.team, pk)}
    return render_page(request, "advisor/job.html", context, part="panel")


@access(Scope.JOBS_READ)
@require_GET
def record(request: PortalRequest) -> HttpResponse:
    """The team's own record of error."""
    context = {"record": score_selectors.record(request.team)}
    return render_page(request, "advisor/record.html", context)


def _money(request: PortalRequest, found: Foretold) -> Money:
    """What the job costs on the cluster that the form names."""
    chosen = request.GET.get("cluster", "")
    pk = int(chosen) if chosen.isdecimal() and len(chosen) < 19 else 0
    known = pk in clusters.present_names(request.team)
    demand = commands.demand_of(request.GET)
    hourly = jobs.hourly_usd(demand, pk, team_id=request.team.pk) if known else None
    return money(
        found.planned,
        found.item.iteration_s,
        hour_usd=None if hourly is None else float(hourly),
        now=timezone.now(),
    )
