"""One Ray cluster as a `Launcher`; an attempt's handle is its submission id."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from httpx import Client, HTTPStatusError, Response, Timeout, codes

from regatta.lifecycle.attempt import (
    ENDED,
    LIVE,
    HandleTaken,
    Launch,
    Seen,
    Sight,
    StartFailed,
    StartRefused,
)

ANSWER_BYTES = 1 << 20  # the answer about one job; more is not an answer
TIMEOUT = Timeout(10.0, connect=3.0)
UPLOAD_TIMEOUT = Timeout(60.0, connect=3.0)


class BadAnswer(Exception):
    """The cluster answered what Ray would not: broken sight, which is no sight."""


def connect(address: str, token: str) -> Client:
    """A connection to the head at `address`, for its token's bearer.

    It follows neither redirects nor the proxies of its environment: the token is for the head.
    """
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    return Client(base_url=address, headers=bearer, timeout=TIMEOUT, trust_env=False)


class RayJobs:
    """Speaks to a cluster's head node through `http`, see `connect`."""

    def __init__(self, http: Client) -> None:
        self._http = http

    def look(self, handle: str) -> Sight:
        details = self._details(handle)
        return Sight(seen=Seen.ABSENT) if details is None else _sight(details)

    def start(self, launch: Launch) -> None:
        """Submit the attempt, with its packages; what is there already is left as it is.

        Raises: StartRefused, HandleTaken.
        """
        for name, path in launch.packages.items():
            self.put_package(name, path)
        body = {
            "submission_id": launch.handle,
            "entrypoint": launch.entrypoint,
            "runtime_env": dict(launch.runtime_env),
            "metadata": dict(launch.metadata),
            **{f"entrypoint_{key}": value for key, value in launch.entrypoint_resources.items()},
        }
        answer = self._ask("POST", "/api/jobs/", json=body)
        if answer.is_error:
            self._adopt(launch, answer)

    def stop(self, handle: str) -> None:
        if self.look(handle).seen in LIVE:
            self._ask("POST", f"/api/jobs/{handle}/stop").raise_for_status()

    def has_package(self, name: str) -> bool:
        answer = self._ask("GET", f"/api/packages/gcs/{name}")
        if answer.status_code == codes.NOT_FOUND and "does not exist" in answer.text:
            return False
        answer.raise_for_status()
        return True

    def put_package(self, name: str, path: Path) -> None:
        """Bring a file to the cluster under Ray's name for it, if it is not there."""
        if self.has_package(name):
            return
        size = {"Content-Length": str(path.stat().st_size)}
        with path.open("rb") as file:
            self._ask(
                "PUT",
                f"/api/packages/gcs/{name}",
                content=_pieces(file),
                headers=size,
                timeout=UPLOAD_TIMEOUT,
            ).raise_for_status()

    def _adopt(self, launch: Launch, refusal: Response) -> None:
        """Ray refuses a second job of one submission id: see whether the first one is ours."""
        there = self._details(launch.handle)
        if there is None:
            if _is_definite(refusal):
                raise StartRefused(_last_line(refusal.text))
            if refusal.status_code != codes.INTERNAL_SERVER_ERROR or _LATER in refusal.text:
                refusal.raise_for_status()
            raise StartFailed(_last_line(refusal.text))
        metadata = (there or {}).get("metadata") or {}
        if any(metadata.get(key) != value for key, value in launch.metadata.items()):
            raise HandleTaken(launch.handle)

    def _details(self, handle: str) -> dict[str, Any] | None:
        """What Ray tells of a job; None when in its own words there is none."""
        answer = self._ask("GET", f"/api/jobs/{handle}")
        if answer.status_code == codes.NOT_FOUND:
            if answer.text.strip() == f"Job {handle} does not exist":
                return None  # in Ray's own words: a proxy's 404 proves nothing
            raise HTTPStatusError("not Ray's words", request=answer.request, response=answer)
        try:
            details = json.loads(answer.raise_for_status().content)
        except ValueError as trouble:
            raise BadAnswer("not JSON") from trouble
        if not isinstance(details, dict) or details.get("submission_id") != handle:
            raise BadAnswer("not about the job that was asked for")
        return details

    def _ask(self, method: str, path: str, **kwargs: Any) -> Response:
        """One request, whose answer may not be longer than an answer is."""
        with self._http.stream(method, path, **kwargs) as answer:
            content = b""
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > ANSWER_BYTES:
                    raise BadAnswer(f"more than {ANSWER_BYTES} bytes")
            return Response(
                answer.status_code,
                content=content,
                request=answer.request,
            )


_LATER = "try again later"  # Ray's own words where it could not even try
_RAYS_WORDS = {seen.value.upper(): seen for seen in LIVE | ENDED}


def _sight(details: dict[str, Any]) -> Sight:
    status = details.get("status")
    seen = _RAYS_WORDS.get(status) if isinstance(status, str) else None
    if seen is None:
        raise BadAnswer(f"unknown status {ascii(status)[:80]}")
    error_type = _text(details.get("error_type"))[:80]
    return Sight(
        seen=seen,
        error_type=error_type,
        message=_gist(_text(details.get("message")), of_job=error_type == _OF_THE_JOB),
        exit_code=_whole(details.get("driver_exit_code")),
        started_at_ms=_whole(details.get("start_time")),
        ended_at_ms=_whole(details.get("end_time")),
        no_driver=not details.get("driver_node_id"),
    )


_OF_THE_JOB = "JOB_ENTRYPOINT_COMMAND_ERROR"  # its message quotes the end of the job's own log
_FRAMES = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t]+.*\n)+")


def _gist(message: str, *, of_job: bool) -> str:
    """The message without the frames of Ray's own tracebacks, and of a long one both ends."""
    text = message if of_job else _FRAMES.sub("", message)
    cut = len(text) - 1900
    return text if cut < 100 else f"{text[:400]}\n[…]\n{text[400 + cut :]}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_definite(refusal: Response) -> bool:
    """Ray's head passes on its agent's 400 as a 500 that quotes it."""
    told = "Request failed with status code 400" in refusal.text
    return refusal.status_code == codes.BAD_REQUEST or told


def _last_line(text: str) -> str:
    """The error at the end of a traceback, without the frames."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return lines[-1][:500] if lines else ""


def _pieces(file: Any) -> Iterator[bytes]:
    while piece := file.read(1 << 20):
        yield piece
