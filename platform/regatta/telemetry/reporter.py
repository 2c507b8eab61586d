"""Delivers a stream in the background of the process that measures."""

from __future__ import annotations

import logging
import threading
import time
from typing import SupportsFloat

from regatta.telemetry.stream import Stream

log = logging.getLogger(__name__)

_EVERY_S = 0.5


class Reporter:
    """A stream with a thread, which starts with the first report."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._live, name="telemetry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def report(self, *, step: int, **values: SupportsFloat) -> None:
        """Note the values and return."""
        if self._stream.note(step=step, values=values):
            self._wake.set()

    def close(self, *, limit_s: float) -> None:
        """Deliver the rest, for about `limit_s` at most, and say what is lost."""
        self._closing.set()
        self._wake.set()
        deadline = time.monotonic() + limit_s
        while not self._stream.deliver(now_s=None):
            if time.monotonic() > deadline:
                log.error("the portal is away: %d metric points lost", self._stream.abandon())
                return
            time.sleep(0.1)

    def _live(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(_EVERY_S)
            self._wake.clear()
            self._stream.deliver(now_s=time.monotonic())
