"""One process's stream of metrics: gathered on the spot, delivered in the background."""

from __future__ import annotations

import logging
import operator
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, SupportsFloat
from uuid import UUID

from regatta.telemetry.batch import BATCH_POINTS, KEY, Point, encode
from regatta.telemetry.outbox import Outbox, Packed
from regatta.telemetry.portal import Away, Refused

log = logging.getLogger(__name__)

WAITING_POINTS = 200_000  # gathered during one delivery that hangs
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0


class Sends(Protocol):
    def send(self, body: bytes) -> None: ...


class Stream:
    """Numbers its batches, and sends them in order until the portal has said yes or never.

    What cannot be kept is counted, logged, and told to the portal with the next batch.
    """

    def __init__(
        self,
        *,
        name: UUID,
        rank: int,
        portal: Sends,
        outbox: Outbox,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.dropped = 0
        self._name = str(name)
        self._rank = rank
        self._portal = portal
        self._outbox = outbox
        self._clock = clock
        self._points: deque[Point] = deque()
        self._keys: set[str] = set()
        self._total_steps: float | None = None
        self._seq = 0
        self._pause_s = 0.0
        self._not_before = 0.0
        self._refused_for_good = False
        self._turn = threading.Lock()

    def note(self, *, step: int, values: Mapping[str, SupportsFloat]) -> bool:
        """Gather the values, without waiting; whether a whole batch has come together.

        Raises: TypeError for a value that is no number, ValueError for an unfit name.
        """
        at, step = self._clock(), operator.index(step)
        for key, value in values.items():
            number = float(value)
            if key not in self._keys:
                self._learn(key)
            if key == "total_steps":
                if number == self._total_steps:
                    continue
                self._total_steps = number
            self._points.append((key, step, number, at))
        return len(self._points) >= BATCH_POINTS

    def deliver(self, *, now_s: float | None) -> bool:
        """One turn: pack what was gathered, send what may be sent; whether nothing is left.

        now_s: on a clock that never goes back, to keep the pause after a failed delivery. None:
        now or never, without a pause.
        """
        with self._turn:
            self._pack()
            if now_s is None:
                return self._send()
            if now_s < self._not_before:
                return False
            done = self._send()
            self._not_before = now_s + self._pause_s
            return done

    def abandon(self) -> int:
        """Forget what is left; returns how many points that were."""
        with self._turn:
            self._pack()
            return self._outbox.close()

    def _learn(self, key: str) -> None:
        if not KEY.fullmatch(key):
            msg = f"the name of a metric is a word like val_loss or train/loss, not {key!r}"
            raise ValueError(msg)
        self._keys.add(key)

    def _pack(self) -> None:
        excess = len(self._points) - WAITING_POINTS
        if excess > 0:
            for _ in range(excess):
                self._points.popleft()
            self._drop(excess, "too many metric points at once")
        while self._points:
            some = [self._points.popleft() for _ in range(min(BATCH_POINTS, len(self._points)))]
            if self._refused_for_good:
                self.dropped += len(some)
                continue
            self._seq += 1
            body = encode(
                some, stream=self._name, seq=self._seq, rank=self._rank, dropped=self.dropped
            )
            if not self._outbox.put(Packed(len(some), body)):
                self._drop(len(some), "no room for more metric points")

    def _send(self) -> bool:
        while batch := self._outbox.first():
            try:
                self._portal.send(batch.body)
            except Away as away:
                self._put_off(away)
                return False
            except Refused as refused:
                self._drop(batch.points, f"the portal refused metric points: {refused}")
                self._refused_for_good = refused.for_good
            self._outbox.pop()
            self._pause_s = 0.0
            if self._refused_for_good:
                self.dropped += self._outbox.close()
        return True

    def _put_off(self, away: Away) -> None:
        if not self._pause_s:
            log.warning("the portal is away, metrics wait: %s", away)
        self._pause_s = min(max(_FIRST_PAUSE_S, 2 * self._pause_s), _LONGEST_PAUSE_S)

    def _drop(self, points: int, why: str) -> None:
        self.dropped += points
        log.error("%s; %d lost so far", why, self.dropped)
