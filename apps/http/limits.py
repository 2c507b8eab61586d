"""How often one caller may ask, and how many may do at once what takes long.

Kept in this process's memory, so that it costs no query; each web process counts for itself: with
two, a caller may ask up to twice as often. A limit keeps a script that runs away from taking
everybody's share; it is no quota.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

from django.conf import settings
from django.utils.translation import gettext as _

from apps.http.problems import Refused

_MOST_BUCKETS = 20_000  # the least used is forgotten, which lets its caller start afresh
_buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
_lock = Lock()


def spend(kind: str, who: str, *, now_s: float | None = None) -> None:
    """Count one request of `kind` by `who`, somebody known: an unknown caller has no bucket.

    kind: a name in `settings.RATE_LIMITS_PER_MIN`, which says how many requests a minute, and as
        many at once after a rest. read and write are of an API token, or of a user by pages;
        upload is a write that has a large body; new_token is of a user.
    now_s: of a clock that never goes back.
    Raises: Refused (429), which says when the next one is taken.
    """
    most = settings.RATE_LIMITS_PER_MIN.get(kind, 0)
    if not most:
        return
    now_s = time.monotonic() if now_s is None else now_s
    with _lock:
        left, at_s = _buckets.get((kind, who), (most, now_s))
        left = min(most, left + (now_s - at_s) * most / 60)
        if enough := left >= 1:
            left -= 1
        _buckets[kind, who] = left, now_s
        _buckets.move_to_end((kind, who))
        if len(_buckets) > _MOST_BUCKETS:
            _buckets.popitem(last=False)
    if not enough:
        wait_s = math.ceil((1 - left) * 60 / most)
        raise Refused(
            "slow_down",
            _("More than %(most)d such requests a minute; wait %(wait_s)d s.")
            % {"most": most, "wait_s": wait_s},
            status=429,
            retry_after_s=wait_s,
        )


class Room:
    """Where work that takes seconds is done, so that it leaves threads to all other requests.

    working: how many do it at once. waiting: how many more may stand in line, each in a thread.
    """

    def __init__(self, *, working: int, waiting: int) -> None:
        self._door = BoundedSemaphore(working + waiting)
        self._desks = BoundedSemaphore(working)

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Wait for a desk.

        Raises: Refused (503) when the line is full.
        """
        if not self._door.acquire(blocking=False):
            raise Refused(
                "busy",
                _("Many ask for this at the same moment; try again in a few seconds."),
                status=503,
                retry_after_s=2,
            )
        try:
            with self._desks:
                yield
        finally:
            self._door.release()
