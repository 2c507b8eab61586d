"""The time of one layer and one micro-batch on one chip, forward and backward.

It depends on few choices: tp, cp, ep, etp, sequence parallelism, micro-batch, recomputation and
dtype. A search therefore computes it for a small table of them and indexes the table.

Legend: T tokens of a micro-batch on one chip; h hidden; a heads; s sequence; all times seconds.
Sources: roofline, Williams 2009; tensor and sequence parallelism, Shoeybi 2019 and Korthikanti
2022; fused attention, Dao 2022 and 2023; ring collectives, Patarasuk and Yuan 2009, with latency
after Hockney 1994; expert parallelism, Lepikhin 2020 (GShard); context parallelism, Liu 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from regatta.planning import plans
from regatta.planning.constants import Constants
from regatta.planning.machines import Machine, link_Bps
from regatta.planning.plans import Plan
from regatta.planning.shapes import Real, Shape, attended_tokens, moe_layers


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTimes:
    """Seconds of one layer (mean over dense and MoE layers) and one micro-batch on one chip.

    head_s is not of a layer but of the output head and loss, once per micro-batch.
    """

    gemm_s: Real
    attention_s: Real
    expert_s: Real
    elementwise_s: Real
    recompute_s: Real
    tensor_comm_s: Real
    context_comm_s: Real
    expert_comm_s: Real
    host_s: Real
    head_s: Real


def total(layer: LayerTimes) -> Real:
    """Seconds of the layer, without the head."""
    return (
        layer.gemm_s
        + layer.attention_s
        + layer.expert_s
        + layer.elementwise_s
        + layer.recompute_s
        + layer.tensor_comm_s
        + layer.context_comm_s
        + layer.expert_comm_s
        + layer.host_s
    )


def layer_times(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> LayerTimes:
    """The parts of a layer's time. Broadcasts over all four arguments."""
    linear = attention_gemms(shape, plan, machine, k) + _dense_ffn(shape, plan, machine, k)
    experts = _experts(shape, plan, machine, k)
    core, core_back = _attention_core(shape, plan, machine, k)
    small, small_back = _elementwise(shape, plan, machine, k)
    # Backward of a GEMM is two GEMMs; with frozen weights (LoRA) only the one to the inputs.
    back = 2.0 - np.asarray(plan.frozen)
    full = np.asarray(plan.recompute) == plans.FULL
    selective = np.asarray(plan.recompute) == plans.SELECTIVE
    products = (linear + experts) / 2 + small
    some = np.where(np.asarray(k.selective_products) > 0, products, core)
    again = np.where(full, linear + experts + core + small, np.where(selective, some, 0.0))
    tensor = _tensor_comm(shape, plan, machine, k) * np.where(full, 1.5, 1.0)
    expert_comm = _expert_comm(shape, plan, machine, k) * np.where(full, 1.5, 1.0)
    context = _context_comm(shape, plan, machine, k, core + core_back)
    parts = {
        "gemm_s": linear * (1 + back),
        "attention_s": core + core_back,
        "expert_s": experts * (1 + back),
        "elementwise_s": small + small_back,
        "recompute_s": again,
        "tensor_comm_s": tensor,
        "context_comm_s": context,
        "expert_comm_s": expert_comm,
    }
    device = sum(parts.values())
    host = _host(shape, plan, k, full)
    return LayerTimes(
        **parts,
        host_s=_slower(device, host) - device,
        head_s=_head(shape, plan, machine, k),
    )


def tokens(shape: Shape, plan: Plan) -> Real:
    """Tokens of a micro-batch that one chip's context rank holds."""
    return plan.micro_batch * shape.seq_len / plan.cp


def sequence_ranks(plan: Plan) -> Real:
    """Over how many chips norms and dropouts are split: tp with sequence parallelism, else 1."""
    return np.where(np.asarray(plan.sequence_parallel) > 0, plan.tp, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What products reach: FLOP/s, seconds per byte moved, and bytes of an element, in and out."""

    flops: Real
    traffic_s: Real
    operand_bytes: Real
    result_bytes: Real


def linear_rates(plan: Plan, machine: Machine, k: Constants) -> Rates:
    """The rates of large products in the plan's dtype."""
    dtype = np.asarray(plan.dtype)
    kinds = [dtype == plans.FP4, dtype >= plans.FP8, dtype == plans.FP32]
    flops = [
        machine.reach_4_flops * k.gemm_4,
        machine.reach_8_flops * k.gemm_8,
        machine.reach_32_flops * k.gemm_16,
    ]
    return Rates(
        flops=np.select(kinds, flops, machine.reach_16_flops * k.gemm_16),
        traffic_s=k.gemm_traffic / (machine.memory_Bps * k.memory),
        operand_bytes=np.select(kinds[:2], [0.5, 1.0], plans.element_bytes(plan)),
        result_bytes=plans.element_bytes(plan),
    )


def _gemm(m: Real, n: Real, depth: Real, rates: Rates) -> Real:
    """Seconds of an (m x depth) by (depth x n) product: its FLOPs and what it moves, in sequence.

    That small products reach less of the peak is in the second term: moved bytes over FLOPs is
    1/m + 1/n + 1/depth. Source: roofline with serial terms, fitted (constant gemm_traffic).
    """
    moved = rates.operand_bytes * (m + n) * depth + rates.result_bytes * m * n
    return 2 * m * n * depth / rates.flops + moved * rates.traffic_s


def attention_gemms(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> Real:
    """Forward projections of one layer's attention, split over tp; latent ones are not split."""
    T, h, tp = tokens(shape, plan), shape.hidden, plan.tp
    rates = linear_rates(plan, machine, k)
    width = shape.heads * shape.head_dim / tp
    values = shape.heads * shape.v_head_dim / tp
    kv = shape.kv_heads * (shape.head_dim + shape.v_head_dim) / tp

    def gemm(n: Real, depth: Real) -> Real:
        return _gemm(T, n, depth, rates)

    out = gemm(h, values)
    plain = gemm(width + kv, h) + out
    wide_q = shape.heads * (shape.head_dim + shape.rope_dim) / tp
    q = np.where(
        np.asarray(shape.q_rank) > 0,
        gemm(shape.q_rank, h) + gemm(wide_q, shape.q_rank),
        gemm(wide_q, h),
    )
    latent = (
        q + gemm(shape.kv_rank + shape.rope_dim, h) + gemm(width + values, shape.kv_rank) + out
    )
    return np.where(np.asarray(shape.kv_rank) > 0, latent, plain)


def _dense_ffn(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> Real:
    """Forward feed-forward GEMMs: dense layers, and the shared experts of MoE layers."""
    T, h = tokens(shape, plan), shape.hidden
    rates = linear_rates(plan, machine, k)

    def ffn(width: Real) -> Real:
        part = np.maximum(width / plan.tp, 1e-9)
        up = (shape.ffn_matrices - 1) * _gemm(T, part, h, rates)
        return np.where(np.asarray(width) > 0, up + _gemm(T, h, part, rates), 0.0)

    moe = moe_layers(shape) / shape.layers
    return ffn(shape.ffn_hidden) * (1 - moe) + ffn(shape.shared_ffn_hidden) * moe


def _experts(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> Real:
    """Forward grouped GEMMs of routed experts, with router and permutation; mean over layers.

    Each of experts/ep local experts is a product of its own, with the tokens routed to it: many
    small products reach less (expert_gemm), and weights are read whole however few the tokens.
    """
    experts = np.maximum(shape.experts, 1.0)
    local = experts / plan.ep
    routed = tokens(shape, plan) / plan.tp * plan.etp * shape.top_k  # tokens x choices on a chip
    each = np.maximum(routed / local, 1e-9)
    width = np.maximum(shape.expert_ffn_hidden / plan.etp, 1e-9)
    Bps = machine.memory_Bps * k.memory
    dense = linear_rates(plan, machine, k)
    low = np.where(np.asarray(plan.dtype) >= plans.FP8, k.expert_low, 1.0)
    rates = Rates(
        flops=dense.flops * k.expert_gemm * low,
        traffic_s=k.expert_traffic / Bps,
        operand_bytes=dense.operand_bytes,
        result_bytes=dense.result_bytes,
    )
    one = _gemm(each, width, shape.hidden, rates)
    grouped = local * shape.ffn_matrices * one
    T = tokens(shape, plan) / sequence_ranks(plan)
    router = 2 * T * shape.hidden * experts / (machine.reach_16_flops * k.gemm_16)
    permute = k.permute_traffic * dense.result_bytes * T * shape.top_k * shape.hidden / Bps
    layer = grouped + router + permute
    return np.where(np.asarray(shape.experts) > 0, layer, 0.0) * moe_layers(shape) / shape.layers


def fuses_attention(plan: Plan, k: Constants) -> Real:
    """Whether attention is one kernel; in 32 bits there is none (Dao 2023: fp16 and bf16)."""
    wide = np.asarray(plan.dtype) == plans.FP32
    return np.where(wide, 0.0, k.fused_attention)


def _attention_core(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> tuple[Real, Real]:
    """Forward and backward of softmax(QK)V. Source: Dao 2022: causal, backward 2.5 times.

    Without fusion the full square is multiplied and its matrix moves through memory some times,
    and heads whose width is no multiple of 8 miss the tensor cores (NVIDIA, Matrix Multiplication
    Background; the measured cost: bigscience, bloom, "NHEADs comparison").
    """
    T, heads = tokens(shape, plan), shape.heads / plan.tp
    keys = attended_tokens(shape)
    width = shape.head_dim + shape.rope_dim + shape.v_head_dim
    flops = 2 * T * keys * heads * width
    fused = flops / 2 / (machine.reach_16_flops * k.attention)
    square = k.softmax_traffic * plans.element_bytes(plan) * T * keys * heads
    aligned = np.where(np.asarray(shape.head_dim) % 8 == 0, 1.0, k.misaligned)
    rates = linear_rates(replace(plan, dtype=np.minimum(plan.dtype, plans.BF16)), machine, k)
    plain = flops / (rates.flops * aligned) + square / (machine.memory_Bps * k.memory)
    is_fused = np.asarray(fuses_attention(plan, k)) > 0
    return np.where(is_fused, fused, plain), np.where(is_fused, 2.5 * fused, 2 * plain)


def _elementwise(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> tuple[Real, Real]:
    """Norms, residuals, dropout, activation, and for fp8 the casts: bytes over bandwidth."""
    T, ranks = tokens(shape, plan), sequence_ranks(plan)
    Bps = machine.memory_Bps * k.memory
    moe = moe_layers(shape) / shape.layers
    routed = shape.top_k * shape.expert_ffn_hidden + shape.shared_ffn_hidden
    ffn = (shape.ffn_hidden * (1 - moe) + routed * moe) / plan.tp
    around = k.norm_traffic * shape.hidden / ranks
    width = plans.element_bytes(plan)
    small = width * T * (around + k.activation_traffic * ffn) / Bps
    qkv = (shape.heads + 2 * shape.kv_heads) * shape.head_dim / plan.tp
    low = np.asarray(plan.dtype) >= plans.FP8
    cast = width * T * (2 * shape.hidden / ranks + qkv + ffn) * k.cast_traffic / Bps
    cast = np.where(low, cast, 0.0)
    return small + cast, k.elementwise_backward * small + cast


def _ring(size_bytes: Real, ranks: Real, Bps: Real, latency_s: Real) -> Real:
    """One all-gather or reduce-scatter of size_bytes over a ring, seconds; alone it is free.

    Latency grows with the logarithm, as NCCL changes to trees for small sizes.
    """
    ranks = np.maximum(ranks, 1.0)
    steps = np.log2(ranks) * latency_s
    return (ranks - 1) / ranks * size_bytes / Bps + steps


def _tensor_comm(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> Real:
    """Exposed time of the tensor-parallel collectives, forward and backward.

    Four pairs of reduce-scatter and all-gather a layer (an all-reduce is one pair), of T x h;
    the routed experts' half has none where experts are not split (etp = 1).
    """
    intra, inter = machine.intra_Bps * k.intra, machine.inter_Bps * k.inter
    Bps = link_Bps(machine, plan.tp, intra, inter, machine.domain_chips)
    size = plans.element_bytes(plan) * tokens(shape, plan) * shape.hidden
    pair = 2 * _ring(size, plan.tp, Bps, k.latency_s)
    moe = moe_layers(shape) / shape.layers
    pairs = 4 * (1 - moe) + moe * np.where(np.asarray(plan.etp) > 1, 4.0, 2.0)
    return k.tensor_exposed * pairs * pair


def _context_comm(
    shape: Shape, plan: Plan, machine: Machine, k: Constants, compute_s: Real
) -> Real:
    """Exposed time of passing keys and values round the context ring, three times (Liu 2023).

    It hides behind attention: what is longer than that shows, and a share of the rest.
    """
    Bps = link_Bps(
        machine, plan.tp * plan.cp, machine.intra_Bps * k.intra, machine.inter_Bps * k.inter, 1.0
    )
    width = shape.kv_heads * (shape.head_dim + shape.v_head_dim) / plan.tp
    size = plans.element_bytes(plan) * tokens(shape, plan) * plan.cp * width
    time = 3 * _ring(size, plan.cp, Bps, k.latency_s)
    return np.maximum(time - compute_s, 0) + k.context_exposed * np.minimum(time, compute_s)


def _expert_comm(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> Real:
    """Exposed time of the four all-to-alls of an MoE layer: dispatch and combine, and back.

    A token crosses the network once per other domain in which an expert awaits it, and is passed
    on inside by the fast links (DeepEP, DeepSeek-V3 2024, section 3.2.2).
    """
    ranks = plan.ep * plan.etp
    domains = np.maximum(1.0, ranks / machine.domain_chips)
    token = plans.element_bytes(plan) * tokens(shape, plan) / plan.tp * shape.hidden
    met = domains * (1 - (1 - 1 / domains) ** shape.top_k)  # domains that a token meets
    away = token * met * (domains - 1) / domains / (machine.inter_Bps * k.inter)
    inside = token * shape.top_k * (ranks - 1) / ranks / (machine.intra_Bps * k.intra)
    once = inside + away + np.where(np.asarray(ranks) > 1, k.latency_s * np.log2(ranks), 0.0)
    moe = moe_layers(shape) / shape.layers
    exposed: Real = k.expert_exposed * 4 * once * moe
    return exposed


def _host(shape: Shape, plan: Plan, k: Constants, full: Real) -> Real:
    """Time in which the host can launch a layer's kernels; full recomputation launches more.

    In block-scaled fp8 every local expert is cast by kernels of its own.
    """
    moe = moe_layers(shape) / shape.layers
    blocks = np.where(np.asarray(plan.dtype) == plans.MXFP8, shape.experts / plan.ep, 0.0)
    each = k.launch_moe + k.launch_expert * blocks
    host_s: Real = k.launch_s * (1 + np.where(full, 0.5, 0.0) + each * moe)
    return host_s


def _slower(device_s: Real, host_s: Real) -> Real:
    """The slower of device and host, rounded at the corner: each is at times the slower one."""
    return (device_s**4 + host_s**4) ** 0.25


def _head(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> Real:
    """Output head and loss, forward and backward, in no less than 16 bits, split over tp."""
    T, vocab = tokens(shape, plan), shape.vocab / plan.tp
    Bps = machine.memory_Bps * k.memory
    rates = linear_rates(replace(plan, dtype=np.minimum(plan.dtype, plans.BF16)), machine, k)
    gemm = _gemm(T, vocab, shape.hidden, rates)
    loss = k.loss_traffic * rates.result_bytes * T * vocab / Bps
    return (3 - np.asarray(plan.frozen)) * gemm + loss
