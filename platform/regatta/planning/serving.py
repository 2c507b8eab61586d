"""Serving a model: the time of prefill and decoding by roofline, with the memory of the KV cache.

A replica is `tp` chips that hold the model once. Tensor parallelism splits every matrix and the
heads; with `attention_dp` each chip keeps attention whole and serves its own share of sequences,
while experts and feed-forward are split (the way latent attention is served). Weights are read
once per step, so decoding is bound by memory until the batch is large. Sources: Pope et al. 2022
(arXiv:2211.05102), sections 2 and 3; Williams et al. 2009 (roofline); DeepSeek-V2 2024 for the
cache of latent attention and its absorbed decoding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regatta.hardware.catalogue import Chip
from regatta.planning.shapes import (
    Real,
    Shape,
    attention_parameters,
    embedding_parameters,
    expert_parameters,
    moe_layers,
    parameters,
)

ACTIVATION_BYTES = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """Number formats of a served model. dtype is what GEMMs compute in, as the catalogue calls it.

    weight_bytes counts scales: 4 bits with one 8-bit scale per 16 weights are 0.5625 bytes.
    """

    name: str
    dtype: str
    weight_bytes: float
    kv_bytes: float


QUANTIZATIONS = {
    item.name: item
    for item in (
        Quantization(name="bf16", dtype="bf16", weight_bytes=2.0, kv_bytes=2.0),
        Quantization(name="fp16", dtype="fp16", weight_bytes=2.0, kv_bytes=2.0),
        Quantization(name="fp8", dtype="fp8", weight_bytes=1.0, kv_bytes=1.0),
        Quantization(name="w8a8", dtype="int8", weight_bytes=1.0, kv_bytes=2.0),
        Quantization(name="w4a16", dtype="bf16", weight_bytes=0.5625, kv_bytes=2.0),
        Quantization(name="fp4", dtype="fp4", weight_bytes=0.5625, kv_bytes=1.0),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConstants:
    """What software reaches of the physical limits, fitted on published measurements.

    On a random half of the groups (model, chip, source) of NVIDIA's TensorRT-LLM tables, 238 rows
    of tests/data/serving_measurements.csv, by least squares of log throughput shrunk to round
    priors; errors on the other half and on Intel's rows stand in docs/reference/plan-size.md.
    """

    gemm: float = 0.60  # of the 16-bit peak, in large GEMMs
    gemm_8: float = 0.65  # of the 8-bit peak
    gemm_4: float = 0.46  # of the 4-bit peak
    experts: float = 0.69  # of that, in the GEMMs of routed experts
    memory: float = 0.77  # of the memory bandwidth, for weights and activations
    cache: float = 0.96  # of the memory bandwidth, for the KV cache
    link: float = 0.50  # of the links between chips
    all_reduce_s: float = 10.7e-6  # of the smallest all-reduce
    activations: float = 18.3  # passes over a token's hidden state per layer, and per expert of it
    layer_s: float = 108e-6  # per layer and step: starting kernels
    step_s: float = 1e-3  # per step: scheduling
    sequence_s: float = 10e-6  # per sequence and step, on the host: sampling, text
    memory_share: float = 0.9  # of the memory that weights and cache may fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One copy of a model on tp chips of one kind."""

    shape: Shape
    chip: Chip
    tp: int
    quantization: Quantization
    attention_dp: bool = False
    constants: ServingConstants = ServingConstants()

    @property
    def link_Bps(self) -> float:
        """One way per chip: the fast links, or the network once the replica leaves the domain."""
        chip = self.chip
        return chip.intra_Bps if self.tp <= chip.domain_chips else chip.inter_Bps

    @property
    def gemm_flops(self) -> float:
        """What GEMMs reach on one chip. Raises: NoPeak."""
        k, dtype = self.constants, self.quantization.dtype
        share = {"fp8": k.gemm_8, "int8": k.gemm_8, "fp4": k.gemm_4}.get(dtype, k.gemm)
        return share * self.chip.peak(dtype)

    @property
    def attention_flops(self) -> float:
        """What attention reaches on one chip: it computes in 16 bits."""
        peaks = self.chip.peak_flops
        return self.constants.gemm * (peaks.get("bf16") or self.chip.peak("fp16"))


def weight_bytes(replica: Replica) -> float:
    """Bytes of weights on each chip; embeddings and attention stay whole with attention_dp."""
    shape, width = replica.shape, replica.quantization.weight_bytes
    whole = float(attention_parameters(shape) * shape.layers) * width * replica.attention_dp
    embeddings = float(embedding_parameters(shape)) * ACTIVATION_BYTES
    rest = (float(parameters(shape)) - float(embedding_parameters(shape))) * width - whole
    return whole + (rest + embeddings) / replica.tp


def cache_bytes(replica: Replica, context_tokens: Real) -> Real:
    """Bytes of one sequence's keys and values on each chip that holds any of it.

    Grouped heads split over tp until each chip has one; a latent cannot be split (DeepSeek-V2).
    """
    shape = replica.shape
    if float(shape.kv_rank) > 0:
        width, share = float(shape.kv_rank + shape.rope_dim), 1.0
    else:
        width = float(shape.kv_heads * (shape.head_dim + shape.v_head_dim))
        share = max(1.0 / replica.tp, 1.0 / float(shape.kv_heads))
    if replica.attention_dp:
        share = 1.0
    return width * share * replica.quantization.kv_bytes * _cached_layers(shape, context_tokens)


def max_batch(replica: Replica, context_tokens: float) -> int:
    """Most sequences of this length that a replica holds at once; 0 where weights do not fit."""
    room = replica.constants.memory_share * replica.chip.memory_bytes - weight_bytes(replica)
    if room <= 0:
        return 0
    per_chip = int(room / float(cache_bytes(replica, context_tokens)))
    return per_chip * (replica.tp if replica.attention_dp else 1)


def prefill_s(replica: Replica, prompt_tokens: float, prompts: Real = 1.0) -> Real:
    """Seconds to take in prompts of this length, together."""
    shape, k = replica.shape, replica.constants
    tokens = prompts * prompt_tokens
    linear = _linear_s(replica, tokens)
    pairs = prompts * prompt_tokens * _attended(shape, prompt_tokens) / 2  # causal
    width = float(shape.heads * (shape.head_dim + shape.rope_dim + shape.v_head_dim))
    attention = 2 * width * float(shape.layers) * pairs / (replica.tp * replica.attention_flops)
    host = _host_s(shape, k, prompts)
    return linear + attention + _comm_s(replica, tokens) + host


def decode_s(replica: Replica, batch: Real, context_tokens: float) -> Real:
    """Seconds of one step that gives each of `batch` sequences its next token."""
    shape, k, chip = replica.shape, replica.constants, replica.chip
    here = batch / replica.tp if replica.attention_dp else batch  # sequences each chip attends to
    heads = float(shape.heads) / (1 if replica.attention_dp else replica.tp)
    if float(shape.kv_rank) > 0:
        width = float(2 * shape.kv_rank + shape.rope_dim)  # absorbed: keys are also values
    else:
        width = float(shape.head_dim + shape.v_head_dim)
    cached = _cached_layers(shape, context_tokens)
    read = here * cache_bytes(replica, context_tokens) / (k.cache * chip.memory_Bps)
    flops = 2 * heads * width * here * cached / replica.attention_flops
    attention = np.maximum(read, flops)
    host = _host_s(shape, k, batch)
    return _linear_s(replica, batch) + attention + _comm_s(replica, batch) + host


def throughput(
    replica: Replica, batch: Real, prompt_tokens: float, output_tokens: float
) -> tuple[Real, Real]:
    """Requests/s of a full replica, and seconds between two tokens of one sequence.

    Prefill and decoding share the chips, so that each sequence waits for the prompts of others.
    """
    prompt_s = prefill_s(replica, prompt_tokens, batch) / batch
    step_s = decode_s(replica, batch, prompt_tokens + output_tokens / 2)
    token_s = step_s + batch * prompt_s / output_tokens
    return batch / (output_tokens * token_s), token_s


def _cached_layers(shape: Shape, context_tokens: Real) -> Real:
    """Tokens kept, summed over layers: all, or the window in layers that slide."""
    return float(shape.layers) * _attended(shape, context_tokens)


def _attended(shape: Shape, context_tokens: Real) -> Real:
    window = float(shape.window) or np.inf
    share = float(shape.window_share)
    return context_tokens * (1 - share) + np.minimum(context_tokens, window) * share


def _linear_s(replica: Replica, tokens: Real) -> Real:
    """Seconds of everything that multiplies by weights: the slower of operations and bytes.

    A batch touches a share 1 - (1 - top_k / experts)^tokens of the experts, if routed evenly.
    """
    shape, k, tp = replica.shape, replica.constants, replica.tp
    moe = float(moe_layers(shape))
    experts = moe * float(shape.experts * expert_parameters(shape))
    every = float(parameters(shape) - embedding_parameters(shape)) - experts
    attention = float(attention_parameters(shape) * shape.layers)
    head = float(shape.vocab * shape.hidden)
    share = float(shape.top_k) / float(shape.experts) if moe else 0.0
    touched = 1 - (1 - share) ** np.asarray(tokens, dtype=np.float64)
    width = replica.quantization.weight_bytes
    whole = attention * replica.attention_dp  # read by every chip
    split = every - whole + experts * touched
    read = (whole + split / tp) * width + head * ACTIVATION_BYTES / tp
    Bps = k.memory * replica.chip.memory_Bps
    routed = experts * share
    flops = 2 * tokens * (every + head + routed / k.experts) / tp
    copies = float(shape.layers) + moe * float(shape.top_k)
    passes = k.activations * ACTIVATION_BYTES * tokens * float(shape.hidden) * copies / tp
    return np.maximum(flops / replica.gemm_flops, read / Bps) + passes / Bps


def _comm_s(replica: Replica, tokens: Real) -> Real:
    """Two exchanges a layer: all-reduces, or to experts and back with attention_dp."""
    if replica.tp == 1:
        return 0.0
    shape, k, tp = replica.shape, replica.constants, replica.tp
    size = tokens * float(shape.hidden) * ACTIVATION_BYTES
    if replica.attention_dp:
        size = size / tp * max(1.0, min(float(shape.top_k), tp)) / 2  # one way each, not twice
    wire = 2 * (tp - 1) / tp * size / (k.link * replica.link_Bps)
    return 2 * float(shape.layers) * (k.all_reduce_s + wire)


def _host_s(shape: Shape, k: ServingConstants, sequences: Real) -> Real:
    return k.step_s + float(shape.layers) * k.layer_s + sequences * k.sequence_s
