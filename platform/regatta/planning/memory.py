"""The peak memory of the fullest chip, as a breakdown that sums to the total.

Weights, gradients and optimizer states by ZeRO stage (Rajbhandari 2020, section 3), activations by
what backward needs (Korthikanti 2022, section 4, written out for grouped queries, gated
feed-forwards and experts), micro-batches in flight by schedule (Narayanan 2021; the interleaved
one holds 1 + (pp-1)/(pp vpp) as much, Korthikanti 2022, section 4.2.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regatta.planning import layers, plans, step
from regatta.planning.constants import Constants
from regatta.planning.machines import Machine
from regatta.planning.plans import Plan
from regatta.planning.shapes import Real, Shape, attended_tokens, moe_layers

ADAM_BYTES = 12.0  # master weight and two moments in 32 bits; 32-bit weights are their master
GIB = 2.0**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """total_bytes is what the fullest chip's device shows, the sum of the breakdown's parts.

    fits: 1 where that is within the chip's memory.
    """

    total_bytes: Real
    breakdown: dict[str, Real]
    fits: Real


def peak(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> Memory:
    """Bytes at the peak, on the first or the last stage of the pipeline, whichever holds more."""
    most, last_layers = step.stage_layers(shape, plan)
    once, kept = layer_activations(shape, plan, k)
    flying = in_flight(plan)
    logits = k.logit_bytes * layers.tokens(shape, plan) * shape.vocab / plan.tp
    alone = np.asarray(plan.pp) == 1
    first = most * kept * flying + np.where(alone, logits, 0.0)
    last = last_layers * kept * np.where(alone, flying, 1.0) + logits
    on_last = last > first
    states = state_bytes(shape, plan, k)
    must: dict[str, Real] = {
        **states,
        "activations": np.where(on_last, last_layers, most)
        * kept
        * np.where(on_last & ~alone, 1.0, flying)
        + once,
        "logits": np.where(on_last | alone, logits, 0.0),
        "framework": GIB * k.context_gib + k.framework_share * machine.memory_bytes,
    }
    slack = k.fragmentation * (sum(must.values()) - must["framework"])
    parts: dict[str, Real] = {**must, "fragmentation": slack}
    parts = dict(zip(parts, np.broadcast_arrays(*parts.values()), strict=True))
    total: Real = sum(parts.values())
    fits = np.asarray(total <= machine.memory_bytes, dtype=np.float64)
    return Memory(total_bytes=total, breakdown=parts, fits=fits)


def state_bytes(shape: Shape, plan: Plan, k: Constants) -> dict[str, Real]:
    """Weights, gradients and optimizer states of the fullest stage, and FSDP's gathered layers."""
    common, experts = step.stage_parameters(shape, plan)
    stage = np.asarray(plan.zero_stage)
    shards, replicas = plans.shard_ranks(plan), step.expert_replicas(plan)

    def held(bytes_each: Real, from_stage: float) -> Real:
        cut = stage >= from_stage
        whole = common / np.where(cut, shards, 1.0) + experts / np.where(cut, replicas, 1.0)
        return bytes_each * whole

    width = np.asarray(plans.element_bytes(plan))
    low = np.asarray(plan.dtype) >= plans.FP8  # a copy as it is and one turned, of a byte each
    adam = ADAM_BYTES - np.where(width > 2, width, 0.0)
    trained = np.where(np.asarray(plan.frozen) > 0, step.FROZEN_SHARE, 1.0)
    most, _ = step.stage_layers(shape, plan)
    return {
        "weights": held(width + 2 * low * k.weight_copies, 3.0),
        "gradients": held(k.gradient_copies * plan.grad_bytes, 2.0) * trained,
        "optimizer": held(k.optimizer_copies * adam, 1.0) * trained,
        # The layer in use, the one prefetched and one's gradients in 16 bits (Zhao 2023).
        "gathered": np.where(stage >= 3, 3 * width * (common + experts) / most, 0.0),
    }


def input_bytes(plan: Plan, k: Constants) -> Real:
    """Bytes of an element of a product's input as kept for its backward, with its scale.

    Transformer Engine keeps the narrow one, turned for that product; torchao the 16-bit one.
    Source: TransformerEngine, pytorch/module/layernorm_linear.py (`ln_out_to_save`); blocks of 32
    (OCP MX 1.0) and of 16 (NVFP4) share a scale of a byte.
    """
    kinds = [np.asarray(plan.dtype) == plans.FP4, np.asarray(plan.dtype) >= plans.FP8]
    wide = plans.element_bytes(plan)
    narrow = np.select(kinds, [1 / 2 + 1 / 16, 1 + 1 / 32], wide)
    return np.where(np.asarray(k.wide_inputs) > 0, wide, narrow)


def in_flight(plan: Plan) -> Real:
    """Micro-batches whose activations the first stage holds, in units of its layers."""
    depth = np.minimum(plan.pp, np.maximum(1.0, plans.micro_batches(plan)))
    extra = 1 + (plan.pp - 1) / (plan.pp * plan.vpp)
    return np.where(np.asarray(plan.vpp) > 1, depth * extra, depth)


def layer_activations(shape: Shape, plan: Plan, k: Constants) -> tuple[Real, Real]:
    """Bytes needed once for a layer at work, and bytes that each layer keeps for its backward.

    Full recomputation keeps a layer's input and needs the rest once; the selective kind does not
    keep attention's matrices. Fused attention keeps no matrix at all, only 4 bytes a row.
    """
    T, tp, h = layers.tokens(shape, plan), plan.tp, shape.hidden
    width, fused = plans.element_bytes(plan), layers.fuses_attention(plan, k)
    whole = T / layers.sequence_ranks(plan)
    heads, kv = shape.heads / tp, shape.kv_heads / tp
    q = heads * (shape.head_dim + shape.rope_dim)
    latent = np.where(np.asarray(shape.kv_rank) > 0, shape.q_rank + shape.kv_rank, 0.0)
    given = input_bytes(plan, k)
    out = heads * shape.v_head_dim * (width + np.where(given < width, given, 0.0))
    attention = T * (
        width * (q + kv * (shape.head_dim + shape.v_head_dim))
        + out
        + given * latent
        + 4 * heads * fused
    )
    square = k.matrix_copies * width * heads * T * attended_tokens(shape)
    gated = np.asarray(shape.ffn_matrices) > 2
    masks = np.where(gated, 0.0, 2 * k.dropout)  # no dropout with gates: Touvron 2023 (Llama)
    around = whole * h * (2 * width + 2 * given + masks)  # inputs of norms and GEMMs
    moe = moe_layers(shape) / shape.layers
    unit = (shape.ffn_matrices - 1) * width + given  # the activation's inputs, and its outcome
    experts = unit * shape.expert_ffn_hidden + h * (given + width * k.weighed_last)
    routed = shape.top_k * experts + unit * shape.shared_ffn_hidden
    ffn = T / tp * (unit * shape.ffn_hidden * (1 - moe) + routed * moe)
    matrices = np.where(np.asarray(fused) > 0, 0.0, square)
    small = k.activation_share * (attention + around + ffn)
    full = np.asarray(plan.recompute) == plans.FULL
    none = np.asarray(plan.recompute) == plans.NONE
    selected = np.where(none, small + matrices, k.selective_share * small)
    kept = np.where(full, width * whole * h, selected)
    once = np.where(full, small + matrices, np.where(none, 0.0, matrices))
    return once, kept
