"""Endpoints about a job's log: a part of it, its lines that match, and its stream."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema

from apps.accounts.access import allow
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.http.problems import PROBLEMS, Refused
from apps.jobs import log_search, log_views, logs
from apps.jobs.log_models import Log

router = Router(tags=["logs"])
_MOST_BYTES = 16 << 20


class LineOut(Schema):
    number: int
    byte_from: int
    text: str


class FoundOut(Schema):
    lines: list[LineOut]
    complete: bool


@router.get("/jobs/{int:pk}/logs", auth=allow(Scope.JOBS_READ), response={200: None, **PROBLEMS})
def read_log(
    request: PortalRequest,
    pk: int,
    attempt: int | None = None,
    start: int = Query(0, alias="from"),  # type: ignore[type-arg]
    limit: int = 1 << 20,
) -> HttpResponse:
    """Bytes of the kept log as text/plain, from byte `from` on, at most `limit` of them.

    `X-Log-To` is where to go on, `X-Log-Bytes` how much is kept, and `X-Log-Ending` how the
    keeping ended: `complete`, `too_long`, `unreachable`, or empty while it goes on.
    """
    if start < 0 or not 1 <= limit <= _MOST_BYTES:
        said = _("from begins at 0, and limit is from 1 to %(most)d bytes.")
        raise Refused("bad_range", said % {"most": _MOST_BYTES}, pointer="/limit")
    kept = _kept(request, pk, attempt)
    until = min(start + limit, kept.stored_bytes)
    data = b"".join(piece.data for piece in logs.all_pieces(kept.pk, start=start, until=until))
    response = HttpResponse(data, content_type="text/plain; charset=utf-8")
    response["X-Log-To"] = str(start + len(data))
    response["X-Log-Bytes"] = str(kept.stored_bytes)
    response["X-Log-Ending"] = kept.ending
    response["X-Content-Type-Options"] = "nosniff"
    return response


@router.get(
    "/jobs/{int:pk}/logs/stream", auth=allow(Scope.JOBS_READ), response={200: None, **PROBLEMS}
)
def stream_log(request: PortalRequest, pk: int, after: str = "") -> StreamingHttpResponse:
    """The job's life as server-sent events: `log`, `state`, `progress`, `end`.

    `end` tells in `log_ending` how the keeping of the log ended, as `X-Log-Ending` does.
    `after` (or `Last-Event-ID`) is the id of the last event that was got, `<attempt>:<byte>`.
    """
    return log_views.event_stream(request, log_views.job_of(request, pk))


@router.get(
    "/jobs/{int:pk}/logs/search", auth=allow(Scope.JOBS_READ), response={200: FoundOut, **PROBLEMS}
)
def search_log(
    request: PortalRequest,
    pk: int,
    q: str,
    regex: bool = False,
    attempt: int | None = None,
    limit: int = 100,
) -> Any:
    """Lines that contain `q` in any case, or match it as a PostgreSQL regular expression."""
    kept = _kept(request, pk, attempt)
    return log_search.search(kept.pk, q=q, is_regex=regex, limit=limit)


def _kept(request: PortalRequest, pk: int, number: int | None) -> Log:
    kept = logs.log_of(log_views.job_of(request, pk), number)
    if kept is None:
        raise Http404
    return kept
