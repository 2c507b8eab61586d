"""A job's log as a stream of events and as a file, for pages and for the API alike."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from django.contrib.auth import get_user
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from apps.accounts.access import access, bearer_token
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.accounts.selectors import caller_in_team, caller_of_token
from apps.http.problems import Refused, refused
from apps.jobs import live, logs, texts
from apps.jobs.live import Moved, News, Over, Progressed, Quiet, Text
from apps.jobs.log_models import Ending
from apps.jobs.models import Job
from apps.jobs.rows import progress

_RECHECK_S = 30.0  # whether whoever watches still may


@access(Scope.JOBS_READ)
@require_GET
def stream(request: PortalRequest, pk: int) -> Any:
    """The job's page, live: its log from `?after=<attempt>:<byte>` on, its state and progress."""
    try:
        return event_stream(request, job_of(request, pk))
    except Refused as error:
        return refused(error)


@access(Scope.JOBS_READ)
@require_GET
def download(request: PortalRequest, pk: int) -> StreamingHttpResponse:
    """The kept log of an attempt (the latest, or `?attempt=`) as a file."""
    number = request.GET.get("attempt", "")
    if number and not (number.isdecimal() and len(number) < 10):
        raise Http404
    return log_file(job_of(request, pk), int(number) if number else None)


def job_of(request: PortalRequest, pk: int) -> Job:
    """The team's job, or 404."""
    return get_object_or_404(Job.objects.kept(), pk=pk, team=request.team)


def log_file(job: Job, number: int | None = None) -> StreamingHttpResponse:
    """The kept log, byte for byte: never shown by a browser, whatever stands in it."""
    kept = logs.log_of(job, number)
    if kept is None:
        raise Http404
    response = StreamingHttpResponse(log_bytes(kept.pk), content_type="text/plain; charset=utf-8")
    name = f"job-{job.pk}-a{kept.attempt.number}.log"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox"
    return response


def event_stream(request: PortalRequest, job: Job) -> StreamingHttpResponse:
    """A job's life as server-sent events, from where the client says it is.

    Raises: Refused for a place that is none.
    """
    number, byte = _place(request, job)
    # Asked here: the stream itself runs in the event loop, where no request has set a language.
    language = translation.get_language()
    events = _events(_watcher(request), language, live.follow(job.pk, number=number, byte=byte))
    response = StreamingHttpResponse(events, content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # a proxy shall not collect events
    return response


def _place(request: HttpRequest, job: Job) -> tuple[int, int]:
    """Of the header that a browser sends by itself, else of `after`; else where the job is."""
    given = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    if not given:
        return max(1, job.attempt_number), 0
    number, colon, byte = given.partition(":")
    if not (colon and number.isdecimal() and byte.isdecimal() and len(given) < 30):
        said = _("after must be <attempt>:<byte>, such as 1:0.")
        raise Refused("bad_place", said, pointer="/after")
    return int(number), int(byte)


async def _events(
    may_watch: Callable[[], bool], language: str | None, news: AsyncIterator[News]
) -> AsyncIterator[bytes]:
    checked_s = time.monotonic()
    yield b": hello\n\n"
    try:
        async for one in news:
            if time.monotonic() - checked_s > _RECHECK_S:
                if not await live.in_thread(may_watch):
                    return
                checked_s = time.monotonic()
            yield _event(one, language)
    finally:
        await news.aclose()  # type: ignore[attr-defined]


def _event(one: News, language: str | None) -> bytes:
    if isinstance(one, Text):
        return one.event
    if isinstance(one, Quiet):
        return b": still here\n\n"
    if isinstance(one, Over):
        return _named("end", _end(one.log_ending, language))
    if isinstance(one, Progressed):
        return _named("progress", progress(dict(one.view.progress), state=one.view.state))
    assert isinstance(one, Moved)
    view = one.view
    with translation.override(language):
        message = str(texts.sentence(view.reason))
    block = {
        "state": view.state,
        "reason": view.reason,
        "message": message,
        "since": view.since.isoformat(),
        "generation": view.generation,
    }
    return _named("state", block | {"attempt": view.number})


def _end(ending: str, language: str | None) -> dict[str, str]:
    with translation.override(language):
        return {"log_ending": ending, "message": str(Ending(ending).label) if ending else ""}


def _named(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _watcher(request: PortalRequest) -> Callable[[], bool]:
    """Asks whether the request's bearer, or its session, still opens this team's jobs."""
    token, team = bearer_token(request), request.team
    store = None if token else type(request.session)(request.session.session_key)

    def may_watch() -> bool:
        if store is None:
            caller = caller_of_token(token)
            return bool(caller and caller.team == team and Scope.JOBS_READ in caller.scopes)
        again = HttpRequest()
        again.session = type(store)(store.session_key)
        user = get_user(again)
        caller = caller_in_team(user, team.slug) if user.is_authenticated else None
        return bool(caller and Scope.JOBS_READ in caller.scopes)

    return may_watch


async def log_bytes(attempt_id: int) -> AsyncIterator[bytes]:
    """An attempt's kept log in bounded pieces, none of which parts a character."""
    at = 0
    while some := await live.in_thread(lambda start=at: logs.pieces(attempt_id, after=start)):  # type: ignore[misc]
        yield b"".join(piece.data for piece in some)
        at = some[-1].byte_to
