"""Work on several things side by side, each in a thread and a database connection of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from django.db import connection

log = logging.getLogger(__name__)
Thing = TypeVar("Thing")


def each(
    things: Iterable[Thing],
    work: Callable[[Thing], None],
    *,
    at_once: int = 1,
    wait_s: float | None = None,
) -> None:
    """Call `work` for each thing, in this thread unless others may run or be left meanwhile.

    wait_s: after which whoever still works is left to end by itself, under its lease, so that it
    holds up nobody of the next sweep. What fails later than that is logged.
    Raises: what `work` raised, the first of it.
    """
    every = list(things)
    if at_once == 1 or (len(every) < 2 and wait_s is None):
        for thing in every:
            work(thing)
        return

    def apart(thing: Thing) -> None:
        try:
            work(thing)
        finally:
            connection.close()  # the thread's own

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="side_by_side")
    done, late = wait([pool.submit(apart, thing) for thing in every], timeout=wait_s)
    pool.shutdown(wait=False)
    for one in late:
        one.add_done_callback(_log_failure)
    for one in done:
        one.result()


def _log_failure(one: Future[None]) -> None:
    if error := one.exception():
        log.error("failed late: %r", error, extra={"action": "left_behind"}, exc_info=error)
