"""Which of our jobs a cluster has. For an audit alone: the answer grows with every job."""

from __future__ import annotations

import json

from httpx import Client

from regatta.lifecycle.attempt import LIVE
from regatta.rayjobs.client import BadAnswer

MOST_BYTES = 16 << 20
_LIVE = frozenset(seen.value.upper() for seen in LIVE)


def live_by_handle(http: Client) -> dict[str, bool]:
    """The handle of each job that bears our mark, and whether it is still at work.

    http: see `client.connect`.
    Raises: BadAnswer, httpx.HTTPError.
    """
    body = b""
    with http.stream("GET", "/api/jobs/") as answer:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise BadAnswer(f"more than {MOST_BYTES} bytes")
    try:
        jobs = json.loads(body)
        ours = {
            str(job["submission_id"]): job["status"] in _LIVE
            for job in jobs
            if job["submission_id"]
            and (job["metadata"] or {}).get("regatta_attempt") == job["submission_id"]
        }
    except (ValueError, TypeError, LookupError, AttributeError) as trouble:
        raise BadAnswer(f"not a list of jobs: {trouble!r}") from trouble
    if not isinstance(jobs, list):
        raise BadAnswer("not a list of jobs")
    return ours
