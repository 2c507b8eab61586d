"""Metrics of a running job, told to the portal by one call from any of its processes.

    from regatta import telemetry

    telemetry.report(step=12, total_steps=300, loss=2.31, tokens_per_s=9800.0)

Inside a job of the portal the environment says where to (`REGATTA_URL`) and by what right
(`REGATTA_TELEMETRY_TOKEN`); anywhere else the call does nothing.
"""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
import uuid
from pathlib import Path
from typing import SupportsFloat

from regatta.telemetry.outbox import Outbox
from regatta.telemetry.portal import Portal
from regatta.telemetry.reporter import Reporter
from regatta.telemetry.stream import Stream

__all__ = ["close", "report"]

log = logging.getLogger(__name__)

_AT_EXIT_S = 10.0

_reporter: Reporter | None = None
_silent = False


def report(*, step: int, **values: SupportsFloat) -> None:
    """Tell what was measured at a step; returns at once, whatever the portal does.

    `total_steps` among the values lets the portal show how far the job is and how long it takes.
    Raises: TypeError for a value that is no number, ValueError for a name that is no plain word.
    """
    global _reporter, _silent
    if _reporter is None and not _silent:
        _reporter = _from_environment()
        _silent = _reporter is None
    if _reporter is not None:
        _reporter.report(step=step, **values)


def close(*, limit_s: float = _AT_EXIT_S) -> None:
    """Wait until all is with the portal, at most about so long, and say what is lost.

    Done by itself at a usual exit; call it at the end of an actor's work, since Ray ends actors
    without one. A later report begins a new stream.
    """
    global _reporter
    reporter, _reporter = _reporter, None
    if reporter is not None:
        reporter.close(limit_s=limit_s)


def _from_environment() -> Reporter | None:
    url, token = os.environ.get("REGATTA_URL"), os.environ.get("REGATTA_TELEMETRY_TOKEN")
    if not (url and token):
        log.info("no telemetry: REGATTA_URL and REGATTA_TELEMETRY_TOKEN are not both set")
        return None
    name = uuid.uuid4()
    folder = os.environ.get("REGATTA_OUTPUT_DIR") or tempfile.gettempdir()
    stream = Stream(
        name=name,
        rank=int(os.environ.get("RANK", "0")),
        portal=Portal(url=url, token=token),
        outbox=Outbox(spill=Path(folder) / f".telemetry-{name}.jsonl"),
    )
    reporter = Reporter(stream)
    reporter.start()
    return reporter


def _after_fork() -> None:
    """A child has no thread of ours, and needs a stream of its own."""
    global _reporter
    _reporter = None


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
