"""The time left is told where the pace gives one, whatever a job reports of itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from apps.jobs.rows import progress
from apps.jobs.selectors import eta_s

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


def told(total, step=6):
    return {"step": step, "total_steps": total, "first_step": 0, "first_at_s": BEGAN.timestamp()}


def test_the_time_left_is_that_of_the_pace_so_far():
    assert eta_s(told(12), state="running", now=LATER) == pytest.approx(60)
    assert eta_s(told(12), state="queued", now=LATER) is None
    assert eta_s(told(3), state="running", now=LATER) == 0


def test_a_last_step_beyond_all_time_has_no_time_left():
    beyond = round(1.79e308)
    assert eta_s(told(beyond), state="running", now=LATER) is None
    shown = progress(told(beyond), state="running")
    json.dumps(shown, allow_nan=False)
