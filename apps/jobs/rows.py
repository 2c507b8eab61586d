"""Rows of lists of jobs, with what is shown beside: look, cost, progress, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils import timezone

from apps.jobs import selectors, texts
from regatta.lifecycle.attempt import TERMINAL, AttemptState

LIVE = frozenset(AttemptState) - TERMINAL


def shown(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as `selectors.row_values` gives them, in two further queries for all of them."""
    found = list(rows)
    spent = selectors.costs_usd([row["id"] for row in found])
    return [
        {
            **row,
            "look": texts.look(row["state"]),
            "live": row["state"] in LIVE,
            "cost_usd": spent.get(row["id"]),
            "took": took(row["started_at"], row["ended_at"]),
            "progress": progress(row["progress"], state=row["state"]),
            "why": texts.sentence(row["reason"]),
        }
        for row in found
    ]


def took(started_at: datetime | None, ended_at: datetime | None) -> Any:
    """How long it has run so far; None when it never began."""
    return (ended_at or timezone.now()) - started_at if started_at else None


def progress(kept: dict[str, Any], *, state: str) -> dict[str, Any]:
    """What a job reported of itself, with the time left and its share done in whole percent."""
    told = selectors.reported(kept)
    told["eta_s"] = selectors.eta_s(kept, state=state, now=timezone.now())
    step, total = told.get("step"), told.get("total_steps")
    if not isinstance(step, int | float) or not isinstance(total, int | float) or total <= 0:
        return told
    return {**told, "percent": max(0, min(100, int(100 * step / total)))}
