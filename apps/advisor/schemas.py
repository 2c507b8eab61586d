"""Shapes of the API about plans; docs/reference/plan-search.md says what the words mean."""

from __future__ import annotations

from typing import Any

from ninja import Schema
from pydantic import Field

from apps.advisor.model_forms import MOST_BATCH, MOST_CHIPS, MOST_TOKENS
from apps.http.schemas import In

Choice = float | str


class SearchIn(In):
    """A model, chips of one kind, a batch, and what is allowed.

    model: a config.json of Hugging Face, or the name of a model that the portal knows.
    fix: allowed values by name, as `{"tp": [8], "recompute": ["none", "selective"]}`.
    headroom: share of a chip's memory to leave free.
    """

    model: dict[str, Any] | str
    chip: str = Field(max_length=80)
    chips: int = Field(ge=1, le=MOST_CHIPS)
    chips_per_node: int | None = Field(None, ge=1, le=1024)
    network_GBps_per_chip: float | None = Field(None, gt=0, le=1e5)
    seq_len: int = Field(ge=1, le=MOST_TOKENS)
    global_batch: int = Field(ge=1, le=MOST_BATCH)
    dtype: str = "bf16"
    fix: dict[str, list[Choice]] = Field(default_factory=dict, max_length=12)
    headroom: float = Field(0.0, ge=0, lt=1)
    top: int = Field(5, ge=1, le=50)


class PlanOut(Schema):
    """One plan with its step. plan: the document that `/plans/predict` and jobs take."""

    tp: int
    pp: int
    vpp: int
    dp: int
    cp: int
    ep: int
    etp: int
    sequence_parallel: bool
    zero_stage: int
    shard_ranks: int
    recompute: str
    micro_batch: int
    iteration_s: float
    mfu: float
    peak_memory_gib: float
    breakdown: dict[str, float]
    why: str
    plan: dict[str, Any]


class SearchOut(Schema):
    """evaluated: valid plans. feasible: those that fit. timed: those not ruled out by a bound."""

    evaluated: int
    feasible: int
    timed: int
    seconds: float
    plans: list[PlanOut]


class PredictIn(In):
    """plan: a document as a search gives it, or written by hand."""

    plan: dict[str, Any]


class PredictOut(Schema):
    """What one plan takes; each breakdown sums to its total."""

    iteration_s: float
    tokens_per_s: float
    mfu: float
    peak_memory_gib: float
    fits: bool
    breakdown: dict[str, float]
    memory_breakdown_gib: dict[str, float]
