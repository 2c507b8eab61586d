"""Shapes of the API about sizing and mixed clusters; docs/reference says what the words mean."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Schema
from pydantic import Field

from apps.advisor.mixed_forms import KINDS
from apps.advisor.model_forms import MOST_BATCH, MOST_TOKENS
from apps.advisor.sizing_forms import MOST_KINDS
from apps.http.schemas import In


class SizeIn(In):
    """What is to be trained or served, by when and for how much.

    model: a config.json of Hugging Face, or the name of a model that the portal knows. chips: USD
    per chip-hour by name, null for the price that the catalogue has. own: own hardware beside
    rented, on these terms.
    """

    model: dict[str, Any] | str
    what: Literal["training", "serving"] = "training"
    tokens: float | None = Field(None, gt=0)
    samples: float | None = Field(None, gt=0)
    epochs: float = Field(1.0, gt=0)
    lora: bool = False
    seq_len: int | None = Field(None, ge=1, le=MOST_TOKENS)
    global_batch: int | None = Field(None, ge=1, le=MOST_BATCH)
    dtype: str = "bf16"
    deadline_days: float | None = Field(None, gt=0)
    budget_usd: float | None = Field(None, gt=0)
    storage_GBps: float | None = Field(None, gt=0)
    recovery_s: float | None = Field(None, gt=0)
    requests_per_s: float | None = Field(None, gt=0)
    prompt_tokens: float | None = Field(None, gt=0)
    output_tokens: float | None = Field(None, gt=0)
    ttft_s: float | None = Field(None, gt=0)
    itl_s: float | None = Field(None, gt=0)
    budget_usd_per_hour: float | None = Field(None, gt=0)
    quantizations: list[str] = Field(default=["bf16", "fp8"], max_length=10)
    chips: dict[str, float | None] = Field(min_length=1, max_length=MOST_KINDS)
    max_chips: int = Field(1024, ge=1)
    own: bool = False
    own_terms: dict[str, float] = Field(default_factory=dict, max_length=20)


class SizeOut(Schema):
    """The front and the picks of it, as `regatta plan size --json` tells them."""

    kind: str
    request: dict[str, Any]
    options: int
    front: list[dict[str, Any]]
    cheapest: dict[str, Any]
    fastest: dict[str, Any]
    balanced: dict[str, Any]
    prices: dict[str, dict[str, Any]]
    unpriced: list[str]
    misses: dict[str, str] | list[str]


class MixedIn(In):
    """A model and chips by name with their numbers."""

    model: dict[str, Any] | str
    chips: dict[str, int] = Field(min_length=1, max_length=len(KINDS))
    network_GBps_per_chip: float | None = Field(None, gt=0, le=1e5)
    seq_len: int = Field(ge=1, le=MOST_TOKENS)
    global_batch: int = Field(ge=1, le=MOST_BATCH)
    dtype: str = "bf16"


class MixedOut(Schema):
    """The plan over all chips, as `regatta plan mixed --json` tells it."""

    seconds: float
    iteration_s: float
    simulated_s: float
    efficiency: float | None
    simulated_efficiency: float | None
    alone_sequences_per_s: dict[str, float]
    losses: dict[str, float]
    uniform_s: float | None
    exchange_s: float
    blocks: list[dict[str, Any]]


class SearchingOut(Schema):
    """The search goes on: send the same again after the seconds of `Retry-After`."""

    done: int
    of: int
    left_s: float | None
