"""The time of one training step, as a breakdown that sums to the total.

Layers and micro-batches into a pipeline (1F1B and interleaved, Narayanan 2021), gradients and
parameters over data-parallel ranks (ZeRO, Rajbhandari 2020; FSDP, Zhao 2023), optimizer, host.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regatta.planning import layers, plans
from regatta.planning.constants import Constants
from regatta.planning.layers import LayerTimes, layer_times
from regatta.planning.machines import Machine, link_Bps
from regatta.planning.plans import Plan
from regatta.planning.shapes import (
    Real,
    Shape,
    attention_parameters,
    expert_parameters,
    moe_layers,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: iteration_s is the sum of the breakdown's parts, each in seconds."""

    iteration_s: Real
    breakdown: dict[str, Real]


def step(
    shape: Shape, plan: Plan, machine: Machine, k: Constants, layer: LayerTimes | None = None
) -> Step:
    """Seconds of one step with its parts.

    layer: from a table, when many plans share few layers; by itself it is computed.
    """
    layer = layer or layer_times(shape, plan, machine, k)
    m = plans.micro_batches(plan)
    most, last = stage_layers(shape, plan)
    layer_s = layers.total(layer)
    one, final = most * layer_s, last * layer_s + layer.head_s
    slowest = np.maximum(one, final)
    in_last = final >= one
    count = np.where(in_last, last, most) * m  # layers that the slowest stage plays in a step
    mean = (shape.layers * layer_s + layer.head_s) / plan.pp
    hop = pipeline_hop(shape, plan, machine, k)
    parts: dict[str, Real] = {
        "gemm": count * layer.gemm_s,
        "attention": count * layer.attention_s,
        "experts": count * layer.expert_s,
        "elementwise": count * layer.elementwise_s,
        "recompute": count * layer.recompute_s,
        "head": np.where(in_last, m * layer.head_s, 0.0),
        "tensor_comm": count * layer.tensor_comm_s,
        "context_comm": count * layer.context_comm_s,
        "expert_comm": count * layer.expert_comm_s,
        "host": count * layer.host_s,
        "bubble": (plan.pp - 1) / plan.vpp * (mean + hop),
        "pipeline_comm": m * hop,
    }
    sharded, gradients = data_comm(shape, plan, machine, k, m * slowest)
    parts["data_comm"] = sharded + gradients
    parts["optimizer"] = optimizer_s(shape, plan, machine, k)
    spread = k.straggle * np.log2(np.maximum(plans.chips(plan) / 8, 1.0))
    parts["stragglers"] = spread * sum(parts.values())
    parts["step_overhead"] = k.step_s
    parts = dict(zip(parts, np.broadcast_arrays(*parts.values()), strict=True))
    return Step(iteration_s=sum(parts.values()), breakdown=parts)


def stage_layers(shape: Shape, plan: Plan) -> tuple[Real, Real]:
    """Layers of the fullest stage, and of the last, which also has the head.

    Where layers do not divide, the ends have fewer, as embedding and head count as layers there.
    """
    even = shape.layers / plan.pp
    return np.ceil(even - 1e-9), np.floor(even + 1e-9)


def pipeline_hop(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> Real:
    """Exposed seconds per micro-batch of passing activations on and gradients back."""
    beside = np.where(plan.tp * plan.cp * plan.pp <= machine.domain_chips, 1.0, np.inf)
    Bps = np.where(np.isfinite(beside), machine.intra_Bps * k.intra, machine.inter_Bps * k.inter)
    size = plans.element_bytes(plan) * layers.tokens(shape, plan) * shape.hidden / plan.tp
    hop = 2 * plan.vpp * (k.pipeline_exposed * size / Bps + k.latency_s)
    return np.where(np.asarray(plan.pp) > 1, hop, 0.0)


def stage_parameters(shape: Shape, plan: Plan) -> tuple[Real, Real]:
    """Weights per chip of the fullest stage: common ones, and those of routed experts.

    The fullest stage has one embedding or head; without a pipeline both, unless tied.
    """
    most, _ = stage_layers(shape, plan)
    moe = moe_layers(shape) / shape.layers
    wide = shape.ffn_hidden * (1 - moe) + shape.shared_ffn_hidden * moe
    layer = attention_parameters(shape) + shape.ffn_matrices * shape.hidden * wide
    embeddings = np.where(np.asarray(plan.pp) > 1, 1.0, 2 - np.asarray(shape.tied_embeddings))
    router = shape.hidden * shape.experts * moe
    common = (most * layer + embeddings * shape.vocab * shape.hidden) / plan.tp + most * router
    experts = most * moe * shape.experts * expert_parameters(shape) / (plan.ep * plan.etp)
    return common, experts


def expert_replicas(plan: Plan) -> Real:
    """How many chips hold the same experts: their data-parallel degree."""
    return np.maximum(1.0, plan.dp * plan.cp * plan.tp / (plan.ep * plan.etp))


def data_comm(
    shape: Shape, plan: Plan, machine: Machine, k: Constants, compute_s: Real
) -> tuple[Real, Real]:
    """Exposed seconds of FSDP's collectives, and of those of gradients and parameters.

    ZeRO 0 all-reduces gradients, which is two passes; 1 and 2 reduce-scatter them and gather
    parameters over the sharding ranks; of both a share is exposed. ZeRO 3 gathers every layer
    twice and reduces it once for every micro-batch; what compute cannot hide shows.
    """
    stage = np.asarray(plan.zero_stage)
    common, experts = stage_parameters(shape, plan)
    ranks, replicas = plan.dp * plan.cp, expert_replicas(plan)
    most, _ = stage_layers(shape, plan)

    def ring(weights: Real, members: Real, width: Real, each: Real, calls: Real) -> Real:
        """Bytes round a ring of `members` groups of `width` chips, and a hop per member."""
        beside = np.floor(machine.domain_chips / width)
        intra, inter = machine.intra_Bps * k.intra, machine.inter_Bps * k.inter
        Bps = link_Bps(machine, width * members, intra, inter, np.minimum(members, beside))
        moved = each * weights * (members - 1) / members / Bps
        return moved + calls * (members - 1) * k.hop_s

    # Buckets of BUCKET_BYTES are reduced as they fill; the experts' have rings of their own.
    buckets = np.maximum(1.0, plan.grad_bytes * common / BUCKET_BYTES)
    passes = np.where(stage >= 1, 1.0, 2.0)
    reduce = ring(common, ranks, plan.tp, passes * plan.grad_bytes, passes * buckets)
    reduce = reduce + ring(
        experts, replicas, plan.ep * plan.etp, passes * plan.grad_bytes, 1.0 * passes
    )
    shards = plans.shard_ranks(plan)
    width = plans.element_bytes(plan)
    apart = np.where(np.asarray(k.broadcast_shards) > 0, shards, buckets)
    gather = ring(common, shards, plan.tp, width, apart)
    gather = gather + ring(experts, replicas, plan.ep * plan.etp, width, 1.0)
    trained = np.where(np.asarray(plan.frozen) > 0, FROZEN_SHARE, 1.0)
    once = k.data_exposed * trained * (reduce + np.where(stage >= 1, gather, 0.0))
    layer_wise = ring(common, shards, plan.tp, width, most)
    layer_wise = layer_wise + ring(experts, replicas, plan.ep * plan.etp, width, 0.0)
    fsdp = 3 * plans.micro_batches(plan) * layer_wise
    fsdp = np.maximum(fsdp - compute_s, 0) + k.fsdp_exposed * np.minimum(fsdp, compute_s)
    return np.where(stage >= 3, fsdp, 0.0), np.where(stage >= 3, 0.0, once)


BUCKET_BYTES = 5e8  # of gradients in one reduction: DeepSpeed's default, near Megatron's
FROZEN_SHARE = 0.02  # of the weights that adapters of rank 16 to 64 train (Hu 2021)


def optimizer_s(shape: Shape, plan: Plan, machine: Machine, k: Constants) -> Real:
    """Seconds of Adam: bytes per weight it reads and writes, over the shards ZeRO leaves."""
    common, experts = stage_parameters(shape, plan)
    sharded = np.asarray(plan.zero_stage) >= 1
    shards = np.where(sharded, plans.shard_ranks(plan), 1.0)
    replicas = np.where(sharded, expert_replicas(plan), 1.0)
    weights = common / shards + experts / replicas
    trained = np.where(np.asarray(plan.frozen) > 0, FROZEN_SHARE, 1.0)
    return k.optimizer_traffic * trained * weights / (machine.memory_Bps * k.memory)
