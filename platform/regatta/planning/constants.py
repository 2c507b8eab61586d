"""The constants of the time model, as floats or arrays: one record for a chip and a software.

What each means, its prior and its source stand in calibration.json.
"""

from __future__ import annotations

from dataclasses import dataclass

from regatta.planning.shapes import Real


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Factors of physical terms. fused_attention: 1 where the software fuses attention.

    selective_products: 1 where its selective recomputation repeats half of the products, not the
    core of attention. broadcast_shards: 1 where each rank broadcasts its shard of the parameters
    by a call of its own after the optimizer (ZeRO 1 and 2), instead of one gather. wide_inputs: 1
    where products in 8 bits keep their inputs in 16 for the backward. weight_copies: 1 where they
    keep copies of weights that stay in 16. dropout: 1 where models without gates have it.
    weighed_last: 1 where experts' outcomes are multiplied by the router's weights and so kept, 0
    where that is done before their last product.
    """

    gemm_16: Real
    gemm_8: Real
    gemm_4: Real
    gemm_traffic: Real
    expert_gemm: Real
    expert_low: Real
    expert_traffic: Real
    attention: Real
    softmax_traffic: Real
    misaligned: Real
    memory: Real
    norm_traffic: Real
    activation_traffic: Real
    elementwise_backward: Real
    cast_traffic: Real
    loss_traffic: Real
    permute_traffic: Real
    intra: Real
    inter: Real
    latency_s: Real
    hop_s: Real
    tensor_exposed: Real
    context_exposed: Real
    expert_exposed: Real
    pipeline_exposed: Real
    data_exposed: Real
    fsdp_exposed: Real
    optimizer_traffic: Real
    launch_s: Real
    launch_moe: Real
    launch_expert: Real
    straggle: Real
    step_s: Real
    gradient_copies: Real
    optimizer_copies: Real
    context_gib: Real
    framework_share: Real
    fragmentation: Real
    activation_share: Real
    selective_share: Real
    matrix_copies: Real
    logit_bytes: Real
    fused_attention: Real
    selective_products: Real = 0.0
    broadcast_shards: Real = 0.0
    wide_inputs: Real = 0.0
    weight_copies: Real = 0.0
    weighed_last: Real = 0.0
    dropout: Real = 1.0
