"""What interruptions and checkpoints leave of a run: Young and Daly's interval, and goodput.

Sources: Young 1974; Daly 2006 (first order); Kokolis et al. 2024 for the share of time kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Per trained weight: fp32 master and both moments of Adam, and the 16-bit weight itself.
STATE_BYTES_PER_WEIGHT = 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """A run on chips that fail. mtti_s: seconds from one interruption of the job to the next.

    share: of the time that makes progress which is kept; 0 when failures come too fast for any.
    """

    mtti_s: float
    save_s: float
    interval_s: float
    share: float


def interval_s(save_s: float, mtti_s: float) -> float:
    """Seconds between checkpoints that lose the least: sqrt(2 x save x MTTI)."""
    return math.sqrt(2 * save_s * mtti_s)


def waste(save_s: float, mtti_s: float) -> float:
    """Share of time lost to saving and to work done anew, at the best interval."""
    best = interval_s(save_s, mtti_s)
    return save_s / best + best / (2 * mtti_s)


def goodput(*, chips: int, mtbf_h: float, save_s: float, recovery_s: float) -> Goodput:
    """Of a job on this many chips, each failing once in mtbf_h hours on average.

    save_s: that one checkpoint stops training. recovery_s: from a failure to the first new step.
    Raises: ValueError naming what is not above 0.
    """
    given = {"chips": chips, "mtbf_h": mtbf_h, "save_s": save_s, "recovery_s": recovery_s}
    for name, value in given.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: a number above 0 is right, not {value}")
    mtti_s = mtbf_h * 3600 / chips
    lost = waste(save_s, mtti_s) + recovery_s / mtti_s
    return Goodput(
        mtti_s=mtti_s,
        save_s=save_s,
        interval_s=interval_s(save_s, mtti_s),
        share=max(0.0, 1 - lost),
    )
