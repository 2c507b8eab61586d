"""Transformers as dimensions: dense or mixture-of-experts, their parameters and FLOPs.

Every field is a float or an array of float64, and every formula broadcasts: one model, the models
of a table of runs, or a model against a space of plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Real = float | NDArray[Any]  # NDArray of float64

T = TypeVar("T")

DEEPSEEK_MLA = {"q_rank": 1536.0, "kv_rank": 512.0, "rope_dim": 64.0}  # DeepSeek-V2, table 1
MOST_OF_DIM = 2.0**24  # the largest size of a model that is believed; Llama 4 has 10 M tokens
MOST_LAYERS = 2.0**14
MOST = 2.0**40  # of any other number of a row
SHOWN = 40  # characters of a wrong value in a message
MAX_DENSE_LAYERS = 3  # DeepSeek-V3 has three, V2 and GLM-4.5-Air one


class BadField(ValueError):
    """A field of a description that cannot be used, and what would be right."""

    def __init__(self, field: str, wrong: str) -> None:
        super().__init__(f"{field}: {wrong}")
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Dimensions of a decoder-only transformer. All counts; widths in elements.

    ffn_matrices: 3 for a gated feed-forward (SwiGLU), 2 without a gate.
    experts: 0 for a dense model. shared_ffn_hidden: width of all shared experts together.
    dense_layers: how many layers of an MoE model have the dense feed-forward `ffn_hidden`.
    kv_rank: above 0 for multi-head latent attention, with q_rank (0: queries are not compressed)
    and rope_dim beside head_dim. window: of sliding attention in tokens, 0 for none, over
    window_share of the layers. Sources: Vaswani 2017; Shazeer 2020 (GLU); DeepSeek-V2 2024 (MLA).
    """

    layers: Real
    hidden: Real
    heads: Real
    kv_heads: Real
    head_dim: Real
    v_head_dim: Real
    ffn_hidden: Real
    ffn_matrices: Real
    vocab: Real
    seq_len: Real
    experts: Real = 0.0
    top_k: Real = 0.0
    expert_ffn_hidden: Real = 0.0
    shared_ffn_hidden: Real = 0.0
    dense_layers: Real = 0.0
    q_rank: Real = 0.0
    kv_rank: Real = 0.0
    rope_dim: Real = 0.0
    tied_embeddings: Real = 0.0
    window: Real = 0.0
    window_share: Real = 1.0


def stacked(items: Sequence[T]) -> T:
    """Many records of floats as one record of arrays, in their order."""
    first = items[0]
    columns = {
        field.name: np.array([getattr(item, field.name) for item in items], dtype=np.float64)
        for field in fields(first)  # type: ignore[arg-type]
    }
    return type(first)(**columns)


def attention_parameters(shape: Shape) -> Real:
    """Weights of one layer's attention, without biases. Source: DeepSeek-V2 2024, section 2.1."""
    queries, values = shape.heads * shape.head_dim, shape.heads * shape.v_head_dim
    plain = shape.hidden * (
        queries + values + shape.kv_heads * (shape.head_dim + shape.v_head_dim)
    )
    wide_q = shape.heads * (shape.head_dim + shape.rope_dim)
    q = np.where(
        np.asarray(shape.q_rank) > 0, shape.q_rank * (shape.hidden + wide_q), shape.hidden * wide_q
    )
    latent = (
        q
        + shape.hidden * (shape.kv_rank + shape.rope_dim)
        + shape.kv_rank * (queries + values)
        + values * shape.hidden
    )
    return np.where(np.asarray(shape.kv_rank) > 0, latent, plain)


def moe_layers(shape: Shape) -> Real:
    """How many layers route to experts."""
    return np.where(np.asarray(shape.experts) > 0, shape.layers - shape.dense_layers, 0.0)


def expert_parameters(shape: Shape) -> Real:
    """Weights of one routed expert."""
    return shape.ffn_matrices * shape.hidden * shape.expert_ffn_hidden


def common_parameters(shape: Shape) -> Real:
    """Weights in layers that every token passes: attention, dense, shared, router, norms."""
    moe = moe_layers(shape)
    ffn = shape.ffn_matrices * shape.hidden * shape.ffn_hidden * (shape.layers - moe)
    shared = shape.ffn_matrices * shape.hidden * shape.shared_ffn_hidden * moe
    router = shape.hidden * shape.experts * moe
    norms = 2 * shape.hidden * shape.layers
    return attention_parameters(shape) * shape.layers + ffn + shared + router + norms


def embedding_parameters(shape: Shape) -> Real:
    """Weights of the token embedding and of the output head."""
    return shape.vocab * shape.hidden * (2 - shape.tied_embeddings)


def parameters(shape: Shape) -> Real:
    """All weights of the model. Checked against published counts in the tests."""
    routed = moe_layers(shape) * shape.experts * expert_parameters(shape)
    return common_parameters(shape) + routed + embedding_parameters(shape)


def active_parameters(shape: Shape) -> Real:
    """Weights that one token passes: top_k of the experts instead of all."""
    routed = moe_layers(shape) * shape.top_k * expert_parameters(shape)
    return common_parameters(shape) + routed + embedding_parameters(shape)


def attended_tokens(shape: Shape) -> Real:
    """Keys that a query meets without the causal mask, mean over layers: seq_len or the window."""
    window = np.where(np.asarray(shape.window) > 0, shape.window, shape.seq_len)
    share = np.clip(shape.window_share, 0.0, 1.0)
    tokens: Real = shape.seq_len * (1 - share) + np.minimum(window, shape.seq_len) * share
    return tokens


def step_flops(shape: Shape, global_batch: Real) -> Real:
    """Model FLOPs of one step: 6 per weight and token, attention without regard to causality.

    Recomputation does not count. Source: Narayanan 2021, appendix A, less its recomputation
    (3 passes, not 4); Chowdhery 2022 (PaLM), appendix B, which also counts full attention.
    """
    matmul: Real = active_parameters(shape) - shape.vocab * shape.hidden * (
        1 - shape.tied_embeddings
    )
    width = shape.heads * (shape.head_dim + shape.rope_dim + shape.v_head_dim)
    attention = 2 * shape.layers * width * attended_tokens(shape)
    flops: Real = global_batch * shape.seq_len * 3 * (2 * matmul + attention)
    return flops


def from_columns(row: Mapping[str, str]) -> Shape:
    """The shape that one row of a runs table describes; columns as in the reference of `predict`.

    What the columns leave open (tied embeddings, dense layers among the experts, latent
    attention, the width of experts) is what brings the count nearest to `params_B`, if given.
    Raises: BadField for a missing or impossible value.
    """
    layers, hidden, heads, ffn, vocab, seq_len = (
        count(row, name)
        for name in ("layers", "hidden", "heads", "ffn_hidden", "vocab", "seq_len")
    )
    head_dim = number(row, "head_dim", default=hidden / heads, least=1, most=MOST_OF_DIM)
    experts = count(row, "experts", default=0, least=0)
    expert_ffn = count(row, "moe_ffn_hidden", default=ffn) if experts else 0.0
    gated = count(row, "gated_ffn", default=1, least=0, most=1)
    shape = Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=count(row, "kv_heads", default=heads),
        head_dim=head_dim,
        v_head_dim=head_dim,
        ffn_hidden=ffn,
        ffn_matrices=2 + gated,
        vocab=vocab,
        seq_len=seq_len,
        experts=experts,
        top_k=count(row, "top_k") if experts else 0.0,
        expert_ffn_hidden=expert_ffn,
        shared_ffn_hidden=number(row, "shared_experts", default=0, most=MOST_OF_DIM) * expert_ffn,
        tied_embeddings=1 - gated,
    )
    if shape.kv_heads > heads:
        raise BadField("kv_heads", f"{shape.kv_heads:g}, more than the {heads:g} heads")
    if shape.top_k > experts:
        raise BadField("top_k", f"{shape.top_k:g}, more than the {experts:g} experts")
    given = number(row, "params_B", default=0) * 1e9
    return _settled(shape, row, given) if given else shape


def count(
    row: Mapping[str, str],
    name: str,
    *,
    default: float | None = None,
    least: float = 1,
    most: float = MOST_OF_DIM,
) -> float:
    """One whole number of a row; empty or absent means the default. Raises: BadField."""
    value = number(row, name, default=default, least=least, most=most)
    if value % 1 and value != default:
        raise BadField(name, f"{value:g} is no whole number")
    return value


def number(
    row: Mapping[str, str],
    name: str,
    *,
    default: float | None = None,
    least: float = 0,
    most: float = MOST,
) -> float:
    """One numeric field of a row; empty or absent means the default.

    Raises: BadField when there is neither, or the value is no number or out of range.
    """
    text = (row.get(name) or "").strip()
    if not text:
        if default is None:
            raise BadField(name, "is empty; give a number")
        return default
    try:
        value = float(text)
    except ValueError:
        raise BadField(name, f"{text!r} is no number") from None
    if not value >= least:
        raise BadField(name, f"{text} is out of range; at least {least:g} is right")
    if value > most:
        raise BadField(name, f"{text} is out of range; at most {most:,.0f} is right")
    return value


def _settled(shape: Shape, row: Mapping[str, str], count: float) -> Shape:
    """The reading of an incomplete description whose parameter count is nearest to the given."""
    readings = [shape]
    if shape.experts:
        dense = range(MAX_DENSE_LAYERS + 1) if shape.ffn_hidden != shape.expert_ffn_hidden else [0]
        if not row.get("moe_ffn_hidden"):
            dense = range(2)
        latent: list[dict[str, float]] = [{}]
        if not row.get("head_dim") and shape.kv_heads == shape.heads:
            mla = {**DEEPSEEK_MLA, "head_dim": 128.0, "v_head_dim": 128.0}
            latent += [mla, {**mla, "q_rank": 0.0}]
        readings = [
            _with_expert_width(replace(shape, dense_layers=float(d), **m), row, count)
            for d, m in product(dense, latent)
        ]
    readings = [replace(r, tied_embeddings=t) for r in readings for t in (0.0, 1.0)]
    return min(readings, key=lambda reading: abs(float(parameters(reading)) - count))


def _with_expert_width(shape: Shape, row: Mapping[str, str], count: float) -> Shape:
    """Where the width of experts is not given and the dense one cannot be meant, solve for it."""
    if row.get("moe_ffn_hidden") or float(parameters(shape)) < 1.5 * count:
        return shape
    rest = count - float(parameters(replace(shape, expert_ffn_hidden=0.0)))
    per_unit = float(moe_layers(shape) * shape.experts * shape.ffn_matrices * shape.hidden)
    return replace(shape, expert_ffn_hidden=max(1.0, np.floor(rest / per_unit)))
