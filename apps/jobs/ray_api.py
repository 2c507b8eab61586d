"""The part of Ray's Jobs API that its own command and SDK speak, in Ray's shapes and words.

`ray job submit --address <portal>` works unmodified with a token of the portal. Jobs that come by
this door are jobs like any other: checked, queued, kept and audited.
Source: `ray.dashboard.modules.job` of Ray 2.60.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from decimal import ROUND_UP, Decimal
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from apps.accounts.access import bearer
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.clusters import selectors as clusters
from apps.http.documents import read_json
from apps.http.problems import Refused
from apps.jobs import log_views, packages, selectors, services, texts
from apps.jobs.api import pieces_of
from apps.jobs.models import Job, Source
from apps.jobs.spec import SECRET_MARK, JobSpec, split_env

RAY_VERSION = "2.60.0"  # that of the clusters; clients look for at least 2.8
_API_VERSION = "4"  # of Ray's own: its clients then stream logs and delete
_LISTED = 1000  # of the newest: Ray's list has no pages
_PACKAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,180}\.(zip|whl)")
_FIELDS = frozenset(
    {"entrypoint", "submission_id", "job_id", "runtime_env", "metadata"}
    | {"entrypoint_num_cpus", "entrypoint_num_gpus", "entrypoint_memory"}
    | {"entrypoint_resources", "entrypoint_label_selector"}
)
_STATUS = {  # Ray has fewer words than the portal
    "queued": "PENDING",
    "starting": "PENDING",
    "running": "RUNNING",
    "stopping": "RUNNING",
    "succeeded": "SUCCEEDED",
    "stopped": "STOPPED",
    "failed": "FAILED",
    "lost": "FAILED",
}
View = Callable[..., HttpResponseBase]


def _in_rays_words(view: View) -> View:
    """Errors as plain text: Ray's clients print the body as it stands."""

    @wraps(view)
    def told(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except Refused as refusal:
            return _text(refusal.detail, status=refusal.status)
        except Http404 as missing:
            return _text(str(missing), status=404)
        except RequestDataTooBig:
            return _text(
                _("The request is too large; put large files into a package."), status=413
            )

    return told


@bearer(Scope.JOBS_READ)
@require_http_methods(["GET"])
@_in_rays_words
def version(request: PortalRequest, cluster: int | None = None) -> HttpResponse:
    """Which Ray this is, by which a client knows what it may ask."""
    _own_cluster(request, cluster)
    return JsonResponse(
        {
            "version": _API_VERSION,
            "ray_version": RAY_VERSION,
            "ray_commit": "",
            "session_name": "regatta",
        }
    )


@bearer(Scope.JOBS_READ, write=Scope.JOBS_WRITE)
@require_http_methods(["GET", "PUT"])
@_in_rays_words
def package(
    request: PortalRequest, protocol: str, name: str, cluster: int | None = None
) -> HttpResponse:
    """Whether a package is there, and its upload: it is checked before it is kept."""
    _own_cluster(request, cluster)
    uri = f"{protocol}://{name}"
    if protocol != "gcs" or not _PACKAGE.fullmatch(name):
        return _text(
            _("A package is gcs://<name>.zip or .whl, not %(uri)s.") % {"uri": uri[:200]},
            status=400,
        )
    if request.method == "PUT":
        packages.save_package(
            pieces_of(request), team=request.team, actor=request.actor, name=name
        )
        return HttpResponse()
    if not selectors.packages(request.team).filter(name=name).exists():
        raise Http404(f"Package {uri} does not exist")
    return HttpResponse()


@bearer(Scope.JOBS_READ, write=Scope.JOBS_WRITE)
@require_http_methods(["GET", "POST"])
@_in_rays_words
def jobs(request: PortalRequest, cluster: int | None = None) -> HttpResponse:
    """The team's jobs, the newest first; or one more."""
    if request.method == "POST":
        return _submit(request, cluster)
    wanted = _own_cluster(request, cluster)
    rows = selectors.jobs(request.team, cluster_id=wanted).select_related("package")
    newest = rows.order_by("-pk")[:_LISTED]
    return JsonResponse([_details(job) for job in newest], safe=False)


@bearer(Scope.JOBS_READ, write=Scope.JOBS_WRITE)
@require_http_methods(["GET", "DELETE"])
@_in_rays_words
def job(request: PortalRequest, name: str, cluster: int | None = None) -> HttpResponse:
    """One job; or its deletion, once it has ended."""
    found = _job(request, name, cluster)
    if request.method == "DELETE":
        services.delete_job(found, actor=request.actor)
        return JsonResponse({"deleted": True})
    return JsonResponse(_details(found, selectors.latest_attempt(found).evidence))


@bearer(Scope.JOBS_READ, write=Scope.JOBS_WRITE)
@require_http_methods(["POST"])
@_in_rays_words
def stop(request: PortalRequest, name: str, cluster: int | None = None) -> HttpResponse:
    """Ask for a job's end; `stopped` says whether there was something to stop."""
    found = _job(request, name, cluster)
    services.stop_job(found, actor=request.actor)
    return JsonResponse({"stopped": not found.has_ended})


@bearer(Scope.JOBS_READ)
@require_http_methods(["GET"])
@_in_rays_words
def job_logs(
    request: PortalRequest, name: str, cluster: int | None = None
) -> StreamingHttpResponse:
    """All that the latest attempt has written, from the portal's own store."""
    attempt = selectors.latest_attempt(_job(request, name, cluster))
    return StreamingHttpResponse(_told_log(attempt.pk), content_type="application/json")


async def _told_log(attempt_id: int) -> AsyncIterator[bytes]:
    """`{"logs": …}` piece by piece: a log is too long to be in memory as a whole."""
    yield b'{"logs": "'
    async for piece in log_views.log_bytes(attempt_id):
        yield json.dumps(piece.decode(errors="replace"))[1:-1].encode()
    yield b'"}'


def _submit(request: PortalRequest, cluster: int | None) -> HttpResponse:
    asked = _asked(request)
    spec = _spec(asked, _cluster_to_run_on(request, cluster))
    job = services.submit_job(
        spec, team=request.team, user=request.user, actor=request.actor, source=Source.RAY
    )
    return JsonResponse({"job_id": job.ray_name, "submission_id": job.ray_name})


def _asked(request: HttpRequest) -> dict[str, Any]:
    """The body, with every field of the kind that Ray demands.

    Raises: Refused.
    """
    asked = read_json(request.body)
    if not isinstance(asked, dict) or set(asked) - _FIELDS:
        raise Refused(
            "invalid_request",
            _("A job has these fields: %(fields)s.") % {"fields": ", ".join(sorted(_FIELDS))},
            status=400,
        )
    given = {name: value for name, value in asked.items() if value is not None}
    for name, value in given.items():
        if not _is_of_kind(name, value):
            raise Refused(
                "invalid_request", _("%(name)s is of the wrong kind.") % {"name": name}, status=400
            )
    return given


def _is_of_kind(name: str, value: Any) -> bool:
    if name in {"entrypoint", "submission_id", "job_id"}:
        return isinstance(value, str)
    if name in {"entrypoint_num_cpus", "entrypoint_num_gpus", "entrypoint_memory"}:
        return _is_amount(value)
    if not isinstance(value, dict):
        return False
    if name in {"metadata", "entrypoint_label_selector"}:
        return all(isinstance(text, str) for text in value.values())
    if name == "entrypoint_resources":
        return all(map(_is_amount, value.values()))
    env = value.get("env_vars") or {}
    return isinstance(env, dict) and all(isinstance(text, str) for text in env.values())


def _is_amount(value: Any) -> bool:
    """A number of bounded size; its limits are checked with the others, see `spec.check`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < 1 << 60


def _spec(asked: dict[str, Any], cluster_id: int) -> JobSpec:
    runtime_env = dict(asked.get("runtime_env") or {})
    env, secret_env = split_env(runtime_env.pop("env_vars", None) or {})
    uri, package = runtime_env.get("working_dir"), ""
    if isinstance(uri, str) and uri.startswith("gcs://"):
        package = runtime_env.pop("working_dir").removeprefix("gcs://")
    metadata = asked.get("metadata") or {}
    for_entrypoint = {
        name.removeprefix("entrypoint_"): value
        for name, value in asked.items()
        if name.startswith("entrypoint_") and value
    }
    cpus = Decimal(str(asked.get("entrypoint_num_cpus", 1)))
    chips = Decimal(str(asked.get("entrypoint_num_gpus", 0)))
    return JobSpec(
        cluster_id=cluster_id,
        name=metadata.get("job_name", "")[:200],
        entrypoint=asked.get("entrypoint", ""),
        package=package,
        env=env,
        secret_env=secret_env,
        runtime_env=runtime_env,
        metadata=metadata,
        entrypoint_resources=for_entrypoint,
        cpus=cpus.quantize(Decimal("0.001"), ROUND_UP),
        memory_bytes=int(asked.get("entrypoint_memory", 0)),
        chips=int(chips.to_integral_value(ROUND_UP)),
        ray_id=asked.get("submission_id") or asked.get("job_id") or "",
    )


def _named_cluster(request: HttpRequest, cluster: int | None) -> str | int | None:
    """The cluster of the address, else of the header."""
    return cluster if cluster is not None else request.headers.get("X-Regatta-Cluster")


def _own_cluster(request: PortalRequest, cluster: int | None) -> int | None:
    """The cluster to which an address or header narrows the request; None for all of the team.

    Raises: Http404 for one that the team does not have, or had and deleted.
    """
    given = _named_cluster(request, cluster)
    if given in (None, ""):
        return None
    if cluster is not None:
        if clusters.team_id(cluster) != request.team.pk:
            raise Http404(_("The team has no cluster %(pk)d.") % {"pk": cluster})
        return cluster
    return clusters.pick(request.team, given)


def _cluster_to_run_on(request: PortalRequest, cluster: int | None) -> int:
    """The cluster that the request names, or the team's only one.

    Raises: Refused, naming the choices.
    """
    named = _own_cluster(request, cluster)
    if named is not None:
        return named
    names = clusters.present_names(request.team)
    if len(names) > 1:
        raise Refused(
            "cluster_needed",
            _(
                "The team has several clusters: %(names)s. Choose one by --headers "
                '\'{"X-Regatta-Cluster": "%(name)s"}\', or by its own address, '
                "%(address)s/api/v1/clusters/%(pk)d/ray"
            )
            % {
                "names": ", ".join(names.values()),
                "name": next(iter(names.values())),
                "pk": next(iter(names)),
                "address": request.build_absolute_uri("/").rstrip("/"),
            },
            status=400,
        )
    return clusters.pick(request.team, None)


def _job(request: PortalRequest, name: str, cluster: int | None) -> Job:
    """The job of the team that Ray's clients know by this name.

    Raises: Http404, in Ray's own words.
    """
    wanted = _own_cluster(request, cluster)
    found = selectors.job_by_ray_name(request.team, name)
    if found is None or wanted not in (None, found.cluster_id):
        raise Http404(f"Job {name} does not exist")
    return found


def _details(job: Job, evidence: dict[str, Any] | None = None) -> dict[str, Any]:
    """A job as Ray's `JobDetails`; a secret is told by its name alone."""
    told = evidence or {}
    secret_env = {name: f"{SECRET_MARK}{secret}" for name, secret in job.secret_env.items()}
    working_dir = {"working_dir": f"gcs://{job.package.name}"} if job.package else {}
    said = told.get("message") or str(texts.sentence(job.reason))
    return {
        "type": "SUBMISSION",
        "job_id": None,
        "submission_id": job.ray_name,
        "driver_info": None,
        "status": _STATUS[job.state],
        "entrypoint": job.entrypoint,
        "message": said,
        "error_type": told.get("error_type"),
        "start_time": _ms(job.started_at),
        "end_time": _ms(job.ended_at),
        "metadata": job.metadata,
        "runtime_env": {**job.runtime_env, **working_dir, "env_vars": {**job.env, **secret_env}},
        "driver_agent_http_address": None,
        "driver_node_id": None,
        "driver_exit_code": told.get("exit_code"),
    }


def _ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)


def _text(said: str, *, status: int) -> HttpResponse:
    return HttpResponse(said, status=status, content_type="text/plain; charset=utf-8")
