"""What a plan costs, and when its training ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from regatta.planning.document import Planned
from regatta.planning.goodput import Goodput
from regatta.planning.sizing import Training, left_over

_BILLION = 1e9
_MOST_S = 1000 * 365 * 86_400  # an end further away is no date


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What a plan costs, in USD; None where a price or the number of tokens is missing.

    seconds, finish, usd: of the whole training, interruptions included. kept: what they leave.
    """

    step_usd: float | None
    billion_usd: float | None
    hour_usd: float | None
    kept: Goodput | None
    seconds: float | None
    interruptions: float | None
    finish: datetime | None
    usd: float | None


def money(planned: Planned, iteration_s: float, *, hour_usd: float | None, now: datetime) -> Money:
    """Of a plan whose step takes so long, on all its chips at this price."""
    [(chip, count)] = planned.cluster.chips
    batch = int(float(planned.plan.global_batch))
    per_step = batch * float(planned.shape.seq_len)
    kept = seconds = None
    if planned.tokens:
        training = Training(
            shape=planned.shape,
            tokens=planned.tokens,
            global_batch=batch,
            frozen=bool(planned.plan.frozen),
        )
        kept = left_over(training, chip, count)
        took = planned.tokens / per_step * iteration_s
        seconds = took / kept.share if took < kept.share * _MOST_S else None
    return Money(
        step_usd=None if hour_usd is None else hour_usd * iteration_s / 3600,
        billion_usd=billion_usd(hour_usd, iteration_s, tokens_per_step=per_step),
        hour_usd=hour_usd,
        kept=kept,
        seconds=seconds,
        interruptions=None if seconds is None or kept is None else seconds / kept.mtti_s,
        finish=None if seconds is None else now + timedelta(seconds=seconds),
        usd=None if hour_usd is None or seconds is None else hour_usd * seconds / 3600,
    )


def billion_usd(
    hour_usd: float | None, iteration_s: float, *, tokens_per_step: float
) -> float | None:
    """USD for a billion tokens without an interruption."""
    if hour_usd is None:
        return None
    return hour_usd * iteration_s / 3600 / tokens_per_step * _BILLION
