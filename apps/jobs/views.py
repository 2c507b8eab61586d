"""Pages about jobs. Panels of metrics come by their own addresses."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.clusters import selectors as clusters
from apps.clusters import texts as cluster_texts
from apps.http.pages import refuse, render_page
from apps.http.paging import page
from apps.http.problems import Refused
from apps.jobs import commands, logs, selectors, services, texts
from apps.jobs.forms import PACKAGE, SCRIPT, JobForm
from apps.jobs.models import Job, Log, Source
from apps.jobs.rows import LIVE, progress, shown, took
from apps.lifecycle.models import Event
from regatta.lifecycle.attempt import AttemptState, Desired
from regatta.lifecycle.queue import admit, fits

_TABS = ["", "running", "queued", "succeeded", "failed", "stopped"]
_TAIL_BYTES = 64 << 10
_EVENTS_SHOWN = 100
_QUOTE_CHARS = 300
_ENDING = {"failed", "deleting"}  # clusters


@access(Scope.JOBS_READ)
@require_GET
def listing(request: PortalRequest) -> HttpResponse:
    """Jobs by the filters in the address, the newest first."""
    given = request.GET
    cluster = given.get("cluster", "")
    state = given.get("state", "") if given.get("state", "") in set(AttemptState) else ""
    rows = selectors.jobs(
        request.team,
        state=state,
        cluster_id=int(cluster) if cluster.isdecimal() and len(cluster) < 19 else None,
        user=request.user.username if given.get("mine") else "",
        q=given.get("q", "")[:100],
    )
    try:
        found = page(selectors.row_values(rows), cursor=given.get("after") or None)
    except Refused as error:
        messages.error(request, error.detail)
        return redirect("jobs:list", request.team.slug)
    rows_shown = shown(found.items)
    context = {
        "rows": rows_shown,
        "next": found.next,
        "tabs": [(one, texts.look(one).word if one else _("All")) for one in _TABS],
        "state": state,
        "clusters": clusters.present_names(request.team),
        "filtered": bool(state or cluster or given.get("mine") or given.get("q")),
        "moving": any(row["live"] for row in rows_shown),
    }
    return render_page(request, "jobs/list.html", context, part="table")


@access(Scope.JOBS_READ)
@require_GET
def brief(request: PortalRequest) -> HttpResponse:
    """The latest jobs of a cluster, for its page; or what ending the cluster would end."""
    cluster = request.GET.get("cluster", "")
    known = cluster.isdecimal() and len(cluster) < 19
    rows = selectors.jobs(request.team, cluster_id=int(cluster) if known else -1)
    live = rows.filter(state__in=sorted(LIVE))
    context: dict[str, Any] = {"form": request.GET.get("form", "")}
    if context["form"] == "effect":
        names = list(live.order_by("-pk").values_list("name", flat=True)[:5])
        context |= {"names": names, "count": live.count()}
    else:
        context["rows"] = shown(selectors.row_values(rows).order_by("-pk")[:8])
    return render_page(request, "jobs/brief.html", context, part="brief")


@access(Scope.JOBS_WRITE)
@require_http_methods(["GET", "POST"])
def create(request: PortalRequest) -> HttpResponse:
    """Ask for a job, from scratch or like an earlier one (`?like=7`)."""
    # Those on which a new job would come to run.
    names, like = clusters.present_names(request.team, without=_ENDING), _like(request)
    chips = {name for pk in names for name in clusters.planned_capacity(pk).chips}
    form = JobForm(
        request.POST or None,
        request.FILES or None,
        clusters=names,
        chips=dict.fromkeys(sorted(chips), 0),
        kept_package=_kept_package(like),
        initial=commands.form_values(like) if like else _asked(request),
    )
    if form.is_valid():
        try:
            made = _submit(request, form, like)
        except Refused as error:
            _refuse(form, error)
        else:
            return redirect("jobs:detail", request.team.slug, made.pk)
    context = {
        "form": form,
        "clusters": names,
        "secrets": selectors.secrets(request.team).values_list("name", flat=True),
        "sample": commands.SAMPLE,
    }
    status = 422 if form.errors else 200
    return render_page(request, "jobs/form.html", context, status=status)


@access(Scope.JOBS_READ)
@require_GET
def fit(request: PortalRequest) -> HttpResponse:
    """Whether what a form asks for fits now, waits, or never fits, and what it costs per hour."""
    names = clusters.present_names(request.team)
    chosen = request.GET.get("cluster", "")
    pk = int(chosen) if chosen.isdecimal() and len(chosen) < 19 else 0
    if pk not in names:
        return render_page(request, "jobs/fit.html", {"verdict": "unknown"}, part="fit")
    demand = commands.demand_of(request.GET)
    offer = clusters.capacity(pk)
    usable = bool(offer.nodes_by_kind)
    whole = selectors.amounts(offer if usable else clusters.planned_capacity(pk))
    held = [job.demand for job in Job.objects.holding(pk)]
    ahead = [job.demand for job in Job.objects.in_line(pk)]
    context = {
        "verdict": _verdict(demand, whole, held=held, ahead=ahead, usable=usable),
        "ahead": len(ahead),
        "running": len(held),
        "whole": whole,
        "hourly": selectors.hourly_usd(demand, pk, team_id=request.team.pk),
        "cluster": names[pk],
    }
    return render_page(request, "jobs/fit.html", context, part="fit")


@access(Scope.JOBS_READ)
@require_GET
def detail(request: PortalRequest, pk: int) -> HttpResponse:
    job = _mine(request, pk)
    attempts = list(selectors.attempts(job))
    latest, log = attempts[0], logs.log_of(job)
    offer_names = clusters.names([job.cluster_id])
    context = {
        "job": job,
        "attempt": latest,
        "attempts": [(one, texts.look(one.state), texts.sentence(one.reason)) for one in attempts],
        "look": texts.look(job.state, unseen=latest.unknown_since is not None),
        "why": texts.sentence(job.reason),
        "next_step": texts.next_step(job.reason),
        "ahead": selectors.queue_position(job),
        "cluster_name": offer_names.get(job.cluster_id, ""),
        "cluster_look": cluster_texts.look(clusters.cluster_state(job.cluster_id) or ""),
        "cost_usd": selectors.costs_usd([job.pk]).get(job.pk),
        "hourly_usd": _hourly(job, request),
        "progress": progress(job.progress, state=job.state),
        "took": took(job.started_at, job.ended_at),
        "stopping": job.desired == Desired.STOPPED and not job.has_ended,
        "events": [
            _told(event) for event in selectors.events(job).order_by("-pk")[:_EVENTS_SHOWN]
        ],
        "curl": commands.as_curl(job, address=settings.REGATTA_URL),
        "ray": commands.as_ray(job, address=settings.REGATTA_URL),
        "log": log,
        "tail": _tail(log) if log else "",
    }
    part = "events" if request.htmx.target == "events" else "live"
    return render_page(request, "jobs/detail.html", context, part=part)


@access(Scope.JOBS_WRITE)
@require_POST
def stop(request: PortalRequest, pk: int) -> HttpResponse:
    services.stop_job(_mine(request, pk), actor=request.actor)
    messages.success(request, _("The job is asked to stop."))
    return redirect("jobs:detail", request.team.slug, pk)


@access(Scope.JOBS_WRITE)
@require_POST
def retry(request: PortalRequest, pk: int) -> HttpResponse:
    try:
        attempt = services.retry_job(_mine(request, pk), actor=request.actor)
    except Refused as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, _("Attempt %(n)d is in line.") % {"n": attempt.number})
    return redirect("jobs:detail", request.team.slug, pk)


@access(Scope.JOBS_WRITE)
@require_POST
def delete(request: PortalRequest, pk: int) -> HttpResponse:
    try:
        services.delete_job(_mine(request, pk), actor=request.actor)
    except Refused as error:
        messages.error(request, error.detail)
        return redirect("jobs:detail", request.team.slug, pk)
    messages.success(request, _("The job is deleted; its costs stay in the books."))
    return redirect("jobs:list", request.team.slug)


def _submit(request: PortalRequest, form: JobForm, like: Job | None) -> Job:
    upload = form.cleaned_data["package"] if form.cleaned_data["what"] == PACKAGE else None
    spec = form.spec()
    if like is not None:  # what the form does not show
        spec = replace(
            spec,
            runtime_env=like.runtime_env,
            metadata=like.metadata,
            entrypoint_resources=like.entrypoint_resources,
        )
    return services.submit_job(
        spec,
        team=request.team,
        user=request.user,
        actor=request.actor,
        source=Source.PAGE,
        clone_of=like,
        upload=upload.chunks() if upload else (),
    )


def _refuse(form: JobForm, error: Refused) -> None:
    """The API's names of fields and the form's differ in four places."""
    renamed = {"cluster_id": "cluster", "memory_bytes": "memory_gib", "secret_env": "env"}
    about = error.pointer.strip("/")
    about = "package" if not about and form.cleaned_data["what"] == PACKAGE else about
    refuse(form, Refused(error.code, error.detail, pointer=renamed.get(about, about)))


def _like(request: PortalRequest) -> Job | None:
    """The job to clone, if the address names one."""
    like = request.GET.get("like", "")
    return _mine(request, int(like)) if like.isdecimal() and len(like) < 19 else None


def _kept_package(like: Job | None) -> str:
    """The package that a clone may run in without another upload."""
    package = like.package if like else None
    return package.name if package and not package.deleted_at else ""


def _asked(request: PortalRequest) -> dict[str, Any]:
    """The values that a form begins with, as the address asks."""
    if plan := request.GET.get("plan", ""):
        given = {
            name: request.GET.get(name) for name in ("name", "cluster", "cpus", "chip", "chips")
        }
        return {name: value for name, value in given.items() if value} | {"plan": plan}
    begun = {} if _has_submitted(request) else {"what": SCRIPT}
    sample = commands.SAMPLE if request.GET.get("sample") else begun
    return {**sample, "cluster": request.GET.get("cluster", "")}


def _has_submitted(request: PortalRequest) -> bool:
    return selectors.jobs(request.team, user=request.user.username).exists()


def _verdict(
    demand: dict[str, Decimal],
    whole: dict[str, Decimal] | Any,
    *,
    held: list[Any],
    ahead: list[Any],
    usable: bool,
) -> str:
    """`now`, `waits`, `later` (its cluster is not up) or `never`."""
    if not fits(demand, whole):
        return "never"
    if not usable:
        return "later"
    starts = admit(capacity=whole, held=held, waiting=[*ahead, demand])
    return "now" if starts == len(ahead) + 1 else "waits"


def _told(event: Event) -> dict[str, Any]:
    return {
        "at": event.at,
        "look": texts.look(event.new),
        "why": texts.sentence(event.reason),
        "quote": _quote(event.detail.get("message", "")),
        "actor": event.actor,
    }


def _quote(message: str) -> str:
    """The end of a cluster's words, where the error stands."""
    return message if len(message) <= _QUOTE_CHARS else f"… {message[-_QUOTE_CHARS:]}"


def _hourly(job: Job, request: PortalRequest) -> Decimal | None:
    """What a running job costs per hour, by its share of the cluster's nodes."""
    if job.state not in {"starting", "running"}:
        return None
    return selectors.hourly_usd(job.demand, job.cluster_id, team_id=request.team.pk)


def _tail(log: Log) -> str:
    """The end of a log, for readers without scripts."""
    start = logs.tail_start(log, tail_bytes=_TAIL_BYTES)
    return "".join(piece.text for piece in logs.all_pieces(log.pk, start=start))


def _mine(request: PortalRequest, pk: int) -> Job:
    return get_object_or_404(selectors.jobs(request.team), pk=pk)
