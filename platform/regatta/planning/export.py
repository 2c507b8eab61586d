"""A plan as launch arguments of Megatron-LM, or as the TOML of torchtitan.

Only what the plan and the shape decide is written: data, learning rate and paths stay the user's.
What a program cannot express is refused by field, never left out in silence. Sources:
megatron/training/arguments.py of Megatron-LM (August 2026; expert-tensor-parallel-size since core
0.9); torchtitan/config/job_config.py of torchtitan (commit 000204a).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from regatta.planning import plans
from regatta.planning.plans import DTYPES, Plan
from regatta.planning.shapes import BadField, Real, Shape

Setting = str | int | list[str]
Settings = dict[str, Real | str]


def megatron_args(shape: Shape, plan: Plan) -> list[str]:
    """Arguments of `pretrain_gpt.py` for this model and plan, ready to be joined by spaces.

    Raises: BadField for arrays, and for what Megatron-LM cannot do.
    """
    plan, shape = _plain(plan), _plain(shape)
    settings: Settings = {
        "num-layers": shape.layers,
        "hidden-size": shape.hidden,
        "num-attention-heads": shape.heads,
        "ffn-hidden-size": shape.ffn_hidden,
        "seq-length": shape.seq_len,
        "max-position-embeddings": shape.seq_len,
        **_attention(shape),
        **_experts(shape, plan),
        "tensor-model-parallel-size": plan.tp,
        "pipeline-model-parallel-size": plan.pp,
        "context-parallel-size": plan.cp,
        "micro-batch-size": plan.micro_batch,
        "global-batch-size": plan.global_batch,
    }
    if plan.vpp > 1:
        settings["num-virtual-stages-per-pipeline-rank"] = plan.vpp
    if shape.window:
        settings |= _window(shape)
    if plan.zero_stage >= 2:
        kind = "optim_grads_params" if plan.zero_stage >= 3 else "optim_grads"
        settings["data-parallel-sharding-strategy"] = kind
    settings |= _recompute(plan) | _dtype(plan)
    flags = {
        "swiglu": shape.ffn_matrices == 3,
        "untie-embeddings-and-output-weights": not shape.tied_embeddings,
        "sequence-parallel": plan.sequence_parallel,
        "use-distributed-optimizer": plan.zero_stage >= 1,
        "use-megatron-fsdp": plan.zero_stage >= 2,
        "overlap-grad-reduce": plan.dp * plan.cp > 1,
        "overlap-param-gather": plan.zero_stage >= 1 and plan.dp * plan.cp > 1,
        "multi-latent-attention": shape.kv_rank,
        "group-query-attention": not shape.kv_rank and shape.kv_heads != shape.heads,
        "moe-grouped-gemm": shape.experts,
        "bf16": DTYPES[int(plan.dtype)] not in {"fp16", "fp32"},
        "fp16": DTYPES[int(plan.dtype)] == "fp16",
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", _text(value))]
    return words + [f"--{name}" for name, wanted in flags.items() if wanted]


def torchtitan_toml(shape: Shape, plan: Plan) -> str:
    """The sections training, parallelism, activation_checkpoint and, for 8 bits, model.

    The model itself is named by flavor in torchtitan, so that only its length is written.
    Raises: BadField for arrays, and for what torchtitan cannot do.
    """
    plan, shape = _plain(plan), _plain(shape)
    _can_titan(plan)
    steps = plan.global_batch / (plan.dp * plan.micro_batch)
    sharded = plan.zero_stage >= 1
    parallelism: dict[str, Setting] = {
        "data_parallel_replicate_degree": 1 if sharded else int(plan.dp),
        "data_parallel_shard_degree": int(plan.dp) if sharded else 1,
        "fsdp_reshard_after_forward": "always" if plan.zero_stage >= 3 else "never",
        "tensor_parallel_degree": int(plan.tp),
        "context_parallel_degree": int(plan.cp),
        "expert_parallel_degree": int(plan.ep),
        "pipeline_parallel_degree": int(plan.pp),
    }
    local = plan.micro_batch
    if plan.pp > 1:  # there the micro-batches of a step are cut from one local batch
        local *= steps
        parallelism |= {
            "pipeline_parallel_schedule": "Interleaved1F1B" if plan.vpp > 1 else "1F1B",
            "pipeline_parallel_microbatch_size": int(plan.micro_batch),
            "pipeline_parallel_layers_per_stage": int(np.ceil(shape.layers / plan.pp / plan.vpp)),
        }
    recompute: dict[str, Setting] = {"mode": plans.RECOMPUTE[int(plan.recompute)]}
    if plan.recompute == plans.SELECTIVE:
        recompute["selective_ac_option"] = "op"
    sections: dict[str, dict[str, Setting]] = {
        "training": {
            "local_batch_size": int(local),
            "global_batch_size": int(plan.global_batch),
            "seq_len": int(shape.seq_len),
            "mixed_precision_param": "float32" if plan.dtype == plans.FP32 else "bfloat16",
        },
        "parallelism": parallelism,
        "activation_checkpoint": recompute,
    }
    if plan.dtype == plans.FP8:
        sections |= {"model": {"converters": ["float8"]}, "float8": {"recipe_name": "rowwise"}}
    if plan.dtype == plans.MXFP8:
        sections |= {"model": {"converters": ["mx"]}, "mx": {"recipe_name": "mxfp8"}}
    return "\n".join(_section(name, entries) for name, entries in sections.items())


def _can_titan(plan: Plan) -> None:
    if plan.tp > 1 and not plan.sequence_parallel:
        raise BadField("sequence_parallel", "torchtitan always has it with tp; 1 is right")
    if plan.dtype in (plans.FP16, plans.FP4):
        name = DTYPES[int(plan.dtype)]
        raise BadField("dtype", f"torchtitan has no {name}; bf16, fp8 or mxfp8 is right")
    if plan.ep > 1 and plan.etp > 1:
        raise BadField("etp", f"{plan.etp:g} beside ep is not possible in torchtitan; 1 is right")
    if plan.ep > plan.dp * plan.cp:
        raise BadField("ep", f"{plan.ep:g}; at most dp x cp = {plan.dp * plan.cp:g} in torchtitan")
    if plan.frozen:
        raise BadField("frozen", "torchtitan's TOML has no adapters; 0 is right")


def _attention(shape: Shape) -> Settings:
    if shape.kv_rank:
        latent: Settings = {
            "kv-lora-rank": shape.kv_rank,
            "qk-head-dim": shape.head_dim,
            "qk-pos-emb-head-dim": shape.rope_dim,
            "v-head-dim": shape.v_head_dim,
        }
        if shape.q_rank:
            latent["q-lora-rank"] = shape.q_rank
        return latent
    plain: Settings = {"kv-channels": shape.head_dim}
    if shape.kv_heads != shape.heads:
        plain["num-query-groups"] = shape.kv_heads
    return plain


def _experts(shape: Shape, plan: Plan) -> Settings:
    if not shape.experts:
        return {}
    settings: Settings = {
        "num-experts": shape.experts,
        "moe-router-topk": shape.top_k,
        "moe-ffn-hidden-size": shape.expert_ffn_hidden,
        "moe-token-dispatcher-type": "alltoall",
        "expert-model-parallel-size": plan.ep,
        "expert-tensor-parallel-size": plan.etp,
    }
    if shape.shared_ffn_hidden:
        settings["moe-shared-expert-intermediate-size"] = shape.shared_ffn_hidden
    if shape.dense_layers:
        rest = shape.layers - shape.dense_layers
        settings["moe-layer-freq"] = f"([0]*{shape.dense_layers:g}+[1]*{rest:g})"
    return settings


def _window(shape: Shape) -> Settings:
    """Megatron knows one full layer after so many sliding ones, or only sliding ones."""
    settings: Settings = {"window-size": f"{shape.window - 1:g},0"}
    if shape.window_share < 1:
        every = 1 / (1 - float(shape.window_share))
        if abs(every - round(every)) > 1e-6:
            raise BadField("window_share", f"{shape.window_share:g}; (n - 1) / n is right")
        settings["window-attn-skip-freq"] = round(every)
    return settings


def _recompute(plan: Plan) -> Settings:
    if plan.recompute == plans.FULL:
        return {
            "recompute-granularity": "full",
            "recompute-method": "uniform",
            "recompute-num-layers": 1.0,
        }
    if plan.recompute == plans.SELECTIVE:
        return {"recompute-granularity": "selective"}
    return {}


def _dtype(plan: Plan) -> Settings:
    kinds: Mapping[str, Settings] = {
        "fp8": {"fp8-format": "hybrid", "fp8-recipe": "tensorwise"},
        "mxfp8": {"fp8-format": "e4m3", "fp8-recipe": "mxfp8"},
        "fp4": {"fp4-format": "e2m1"},
    }
    return kinds.get(DTYPES[int(plan.dtype)], {})


def _plain(item: Plan | Shape) -> Any:
    """The same record of floats. Raises: BadField for an array of more than one."""
    values = {}
    for name in item.__slots__:
        value = np.asarray(getattr(item, name), dtype=np.float64)
        if value.size != 1:
            raise BadField(name, f"{value.size} values; one plan at a time is right")
        values[name] = float(value.item())
    return type(item)(**values)


def _text(value: Real | str) -> str:
    return value if isinstance(value, str) else f"{float(value):.12g}"


def _section(name: str, entries: Mapping[str, Setting]) -> str:
    lines = [f"[{name}]"]
    for key, value in entries.items():
        lines.append(f"{key} = {json.dumps(value)}")  # strings, whole numbers, lists: as in JSON
    return "\n".join(lines) + "\n"
