"""`manage.py ticker`: runs the sweeps on its own clock, and the followers, without a broker."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, close_old_connections, connection
from django.utils.module_loading import import_string

from apps.config.celery import app
from apps.lifecycle.models import Heartbeat

log = logging.getLogger(__name__)

_BEAT_S = 2.0
_FIRST_BACK_OFF_S, _MOST_S = 1.0, 60.0
_STUCK_S = 300.0  # the budget of a tick whose task has no time limit
_MOST_STUCK = 3  # threads left behind; with more, only a fresh process gets rid of them
_LEAVE_S = 3.0


class Command(BaseCommand):
    """Ends with 1 when a thread died or too many hang; the supervisor starts it afresh."""

    help = "Run what settings.TICKS and settings.FOLLOWERS name, until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        """Start a thread for each, show life, and stop together."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            # In a thread: here it might wait for a lock that the interrupted wait holds.
            signal.signal(number, lambda *_: threading.Thread(target=stop.set).start())
        turns = [*_ticks(stop), *_followers(stop)]
        for turn in turns:
            turn.start()
        trouble = _watch(turns, stop)
        stop.set()
        deadline_s = time.monotonic() + _LEAVE_S
        for turn in turns:
            turn.join(max(0.0, deadline_s - time.monotonic()))
        # Not sys.exit: a thread in the middle of a slow call must not hold the end up.
        logging.shutdown()
        os._exit(1 if trouble else 0)


class Turn(threading.Thread):
    """Calls `work` again and again, later after a failure.

    budget_s: what a call may take; None: as long as it likes.
    """

    def __init__(
        self,
        label: str,
        work: Callable[[], None],
        *,
        every_s: float,
        stop: threading.Event,
        budget_s: float | None = None,
    ) -> None:
        super().__init__(name=label, daemon=True)
        self.busy_since_s: float | None = None
        self.left_behind = False
        self.budget_s = budget_s
        self._work, self._every_s, self._stop_asked = work, every_s, stop

    def is_stuck(self) -> bool:
        """Whether the present call is over its budget."""
        since_s = self.busy_since_s
        if since_s is None or self.budget_s is None:
            return False
        return time.monotonic() - since_s > self.budget_s

    def successor(self, work: Callable[[], None]) -> Turn:
        """Another in its place; this one ends with its present call, should that ever end."""
        self.left_behind = True
        return Turn(
            self.name,
            work,
            every_s=self._every_s,
            stop=self._stop_asked,
            budget_s=self.budget_s,
        )

    def run(self) -> None:
        """Until stopped or left behind."""
        wait_s, back_off_s = 0.0, _FIRST_BACK_OFF_S
        while not self._stop_asked.wait(wait_s) and not self.left_behind:
            self.busy_since_s = time.monotonic()
            try:
                close_old_connections()
                self._work()
                wait_s, back_off_s = self._every_s, _FIRST_BACK_OFF_S
            except Exception:  # the rim: a tick in trouble holds up no other
                log.exception("failed", extra={"action": "tick_failed", "tick": self.name})
                wait_s = max(self._every_s, back_off_s)
                back_off_s = min(back_off_s * 2, _MOST_S)
            finally:
                self.busy_since_s = None
                close_old_connections()


@contextmanager
def only_one(name: str) -> Iterator[bool]:
    """Hold the lock of this name in the database; yields False when another ticker has it.

    On a connection of its own: what the task does to its connection leaves the lock alone.
    """
    key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
    own = connection.copy()
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
            held = cursor.fetchone() == (True,)
            try:
                yield held
            finally:
                if held:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
    finally:
        own.close()


def _ticks(stop: threading.Event) -> Iterator[Turn]:
    app.loader.import_default_modules()
    for name, every_s in settings.TICKS.items():
        if name not in app.tasks:
            raise CommandError(f"settings.TICKS names {name}, which is no Celery task")
        budget_s = getattr(app.tasks[name], "time_limit", None) or _STUCK_S
        yield Turn(name, _tick(name), every_s=every_s, stop=stop, budget_s=budget_s)


def _tick(name: str) -> Callable[[], None]:
    task = app.tasks[name]

    def tick() -> None:
        with only_one(name) as held:
            if held:
                task()

    return tick


def _followers(stop: threading.Event) -> Iterator[Turn]:
    for path in settings.FOLLOWERS:
        follow = import_string(path)
        yield Turn(path, lambda f=follow: f(stop), every_s=1.0, stop=stop)  # type: ignore[misc]


def _watch(turns: list[Turn], stop: threading.Event) -> str:
    """Beat, and replace whoever is stuck; answers what is wrong, nothing when told to stop."""
    stuck: list[Turn] = []
    while not stop.is_set():
        _beat()
        stop.wait(_BEAT_S)
        for place, turn in enumerate(turns):
            if not turn.is_alive() and not stop.is_set():
                return _said(f"{turn.name} died")
            if turn.is_stuck():
                stuck.append(turn)
                turns[place] = _replace(turn)
        stuck = [turn for turn in stuck if turn.is_alive()]
        if len(stuck) > _MOST_STUCK:
            return _said(f"stuck: {', '.join(turn.name for turn in stuck)}")
    return ""


def _replace(turn: Turn) -> Turn:
    """Say where a turn is stuck, and start another.

    That one goes without the lock, which the stuck one may hold for ever: a task that runs twice
    at a time does no harm.
    """
    frame = sys._current_frames().get(turn.ident or 0)
    at = [f"{one.filename}:{one.lineno}" for one in traceback.extract_stack(frame)[-6:]]
    log.error(
        "%s is stuck for %g s and is started anew; it is at %s",
        *(turn.name, turn.budget_s, " > ".join(at)),
        extra={"action": "tick_stuck", "tick": turn.name},
    )
    successor = turn.successor(app.tasks[turn.name])
    successor.start()
    return successor


def _beat() -> None:
    try:
        close_old_connections()
        Heartbeat.beat("ticker")
    except DatabaseError as error:
        log.warning("no heartbeat: %s", error, extra={"action": "beat_failed"})


def _said(trouble: str) -> str:
    log.error(trouble, extra={"action": "ticker_ends"})
    return trouble
