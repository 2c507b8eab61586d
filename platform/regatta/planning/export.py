"""A plan as launch arguments of Megatron-LM, or as the TOML of torchtitan.

Only what the plan and the shape decide is written: data, learning rate and paths stay the user's.
What a program cannot express is refused by field, never left out in silence. Sources:
megatron/training/arguments.py of Megatron-LM (August 2026; expert-tensor-parallel-size since core
0.9, pipeline-model-parallel-layout since 0.13: megatron/core/transformer/
pipeline_parallel_layer_layout.py); torchtitan/config/job_config.py of torchtitan (commit 000204a).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from regatta.planning import plans
from regatta.planning.plans import DTYPES, Plan
from regatta.planning.shapes import BadField, Real, Shape

Setting = str | int | list[str] | list[list[str]]
Settings = dict[str, Real | str]


def megatron_args(shape: Shape, plan: Plan) -> list[str]:
    """Arguments of `pretrain_gpt.py` for this model and plan, ready to be joined by spaces.

    Raises: BadField for arrays, and for what Megatron-LM cannot do.
    """
    plan, shape = _plain(plan), _plain(shape)
    if plan.frozen:
        raise BadField("frozen", "pretrain_gpt.py has no adapters; 0 is right")
    half = plan.dtype == plans.FP16
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
    if shape.layers % (plan.pp * plan.vpp):
        chunks = "|".join("t" * count for count in _chunks(shape, plan))
        settings["pipeline-model-parallel-layout"] = f"E{chunks}L"
    elif plan.vpp > 1:
        settings["num-virtual-stages-per-pipeline-rank"] = plan.vpp
    if (copies := plan.dp * plan.cp / _shards(shape, plan)) > 1:
        settings["num-distributed-optimizer-instances"] = copies
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
        "bf16": not half and plan.dtype != plans.FP32,
        "fp16": half,
        "grad-reduce-in-bf16": not half and plan.grad_bytes == 2,
        "accumulate-allreduce-grads-in-fp32": half and plan.grad_bytes == 4,
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", _text(value))]
    return words + [f"--{name}" for name, wanted in flags.items() if wanted]


def torchtitan_toml(shape: Shape, plan: Plan) -> str:
    """The sections training, parallelism, activation_checkpoint and, for 8 bits, model.

    The model itself is named by flavor in torchtitan, so that only its length is written.
    Raises: BadField for arrays, and for what torchtitan cannot do.
    """
    plan, shape = _plain(plan), _plain(shape)
    _can_titan(shape, plan)
    steps = plan.global_batch / (plan.dp * plan.micro_batch)
    sharded = plan.zero_stage >= 1
    within = int(_shards(shape, plan) / plan.cp) if sharded else 1  # the shards, but for cp's
    parallelism: dict[str, Setting] = {
        "data_parallel_replicate_degree": int(plan.dp) // within,
        "data_parallel_shard_degree": within,
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
        } | _titan_stages(shape, plan)
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


def _chunks(shape: Shape, plan: Plan) -> list[int]:
    """Layers of each chunk of the pipeline, as `step.stage_layers` counts them by stage.

    Where they do not divide, those beside embedding and head have one less.
    """
    count, stages = int(plan.pp * plan.vpp), int(plan.pp)
    most = -(-int(shape.layers) // count)
    # The third to have less; of two stages, the first has its one already.
    third = count - 2 if stages > 2 else count - 3
    ends = dict.fromkeys((count - 1, 0, third, *range(count - 2, 0, -1)))
    less = list(ends)[: most * count - int(shape.layers)]
    return [most - (index in less) for index in range(count)]


def _titan_stages(shape: Shape, plan: Plan) -> dict[str, Setting]:
    """By number where layers divide, none less at the ends; else layer by layer."""
    chunks = _chunks(shape, plan)
    if len(set(chunks)) == 1:
        less = {f"pipeline_parallel_{end}_stage_less_layers": 0 for end in ("first", "last")}
        return {"pipeline_parallel_layers_per_stage": chunks[0], **less}
    if 0 in chunks[1:-1]:
        raise BadField("vpp", f"{plan.vpp:g} leaves a stage without layers; less is right")
    names = iter([f"layers.{layer}" for layer in range(int(shape.layers))])
    parts = [[next(names) for _ in range(count)] for count in chunks]
    parts[0].insert(0, "tok_embeddings")
    parts[-1] += ["norm", "output"]
    return {"module_fqns_per_model_part": parts}


def _shards(shape: Shape, plan: Plan) -> float:
    """Ranks that states are sharded over. Raises: BadField where a program cannot shard so."""
    ranks, shards = plan.dp * plan.cp, float(plans.shard_ranks(plan))
    if not plan.zero_stage or shards == ranks:
        return float(ranks)
    if ranks % shards or shards % plan.cp:
        right = f"a multiple of cp that divides dp x cp = {ranks:g} is right"
        raise BadField("shard_ranks", f"{shards:g}; {right}")
    if shape.experts:
        raise BadField("shard_ranks", f"{shards:g} would shard experts over fewer; 0 is right")
    return shards


def _can_titan(shape: Shape, plan: Plan) -> None:
    if plan.tp > 1 and not plan.sequence_parallel:
        raise BadField("sequence_parallel", "torchtitan always has it with tp; 1 is right")
    if plan.dtype in (plans.FP16, plans.FP4):
        name = DTYPES[int(plan.dtype)]
        raise BadField("dtype", f"torchtitan has no {name}; bf16, fp8 or mxfp8 is right")
    if plan.ep > 1 and plan.etp > 1:
        raise BadField("etp", f"{plan.etp:g} beside ep is not possible in torchtitan; 1 is right")
    if shape.experts and plan.ep == 1 and plan.etp != plan.tp:
        raise BadField("etp", f"{plan.etp:g} without ep; tp = {plan.tp:g} is right in torchtitan")
    if plan.cp > 1 and not plan.zero_stage:
        raise BadField("zero_stage", "torchtitan shards over the ranks of cp; 1 is right")
    if plan.grad_bytes != 4:
        raise BadField("grad_bytes", f"{plan.grad_bytes:g}; torchtitan reduces in 32 bits")
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
