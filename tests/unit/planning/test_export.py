"""Launch arguments: what a plan says, a program is told, or it is refused by field."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regatta.planning import plans
from regatta.planning.export import megatron_args, torchtitan_toml
from regatta.planning.hf import MODELS as CONFIGS
from regatta.planning.hf import from_hf_config
from regatta.planning.plans import Plan
from regatta.planning.shapes import BadField
from regatta.planning.step import stage_layers


def shape(name):
    return from_hf_config(json.loads((CONFIGS / f"{name}.json").read_text()), seq_len=8192)


LLAMA = shape("llama-3.1-70b")
PLAN = Plan(
    tp=8.0, pp=4.0, vpp=5.0, dp=16.0, cp=1.0, ep=1.0, etp=8.0,
    micro_batch=1.0, global_batch=512.0, sequence_parallel=1.0, recompute=plans.SELECTIVE,
)  # fmt: skip


def parsed(words):
    """Options with their values; a flag has True."""
    options = {}
    for word, after in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            options[word] = True if after.startswith("--") else after
    return options


def test_megatron_is_told_the_whole_of_a_dense_plan():
    """Llama-3.1 70B on 512 chips, as one would write it by hand."""
    assert parsed(megatron_args(LLAMA, PLAN)) == {
        "--num-layers": "80",
        "--hidden-size": "8192",
        "--num-attention-heads": "64",
        "--ffn-hidden-size": "28672",
        "--seq-length": "8192",
        "--max-position-embeddings": "8192",
        "--kv-channels": "128",
        "--group-query-attention": True,
        "--num-query-groups": "8",
        "--swiglu": True,
        "--untie-embeddings-and-output-weights": True,
        "--tensor-model-parallel-size": "8",
        "--pipeline-model-parallel-size": "4",
        "--num-virtual-stages-per-pipeline-rank": "5",
        "--context-parallel-size": "1",
        "--sequence-parallel": True,
        "--micro-batch-size": "1",
        "--global-batch-size": "512",
        "--recompute-granularity": "selective",
        "--use-distributed-optimizer": True,
        "--overlap-grad-reduce": True,
        "--overlap-param-gather": True,
        "--bf16": True,
    }


def test_megatron_is_told_latent_attention_and_experts():
    """DeepSeek-V3: three dense layers of 61, 256 experts, one shared of 2,048."""
    plan = replace(PLAN, tp=1.0, pp=16.0, vpp=1.0, ep=8.0, etp=1.0, sequence_parallel=0.0)
    told = parsed(megatron_args(shape("deepseek-v3"), plan))
    assert told["--multi-latent-attention"] is True
    assert told["--q-lora-rank"] == "1536"
    assert told["--kv-lora-rank"] == "512"
    assert (told["--qk-head-dim"], told["--qk-pos-emb-head-dim"]) == ("128", "64")
    assert told["--moe-layer-freq"] == "([0]*3+[1]*58)"
    assert told["--num-experts"] == "256"
    assert told["--moe-shared-expert-intermediate-size"] == "2048"
    assert (told["--expert-model-parallel-size"], told["--moe-router-topk"]) == ("8", "8")
    assert "--group-query-attention" not in told  # exclusive with latent attention there
    assert "--sequence-parallel" not in told


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
    [
        ({"zero_stage": 0.0}, [], ["--use-distributed-optimizer", "--overlap-param-gather"]),
        ({"zero_stage": 2.0}, ["--use-megatron-fsdp", "optim_grads"], ["optim_grads_params"]),
        ({"zero_stage": 3.0}, ["--use-megatron-fsdp", "optim_grads_params"], ["optim_grads"]),
        ({"recompute": plans.FULL}, ["--recompute-method", "uniform"], ["selective"]),
        ({"recompute": plans.NONE}, [], ["--recompute-granularity"]),
        ({"dtype": plans.FP16}, ["--fp16"], ["--bf16"]),
        ({"dtype": plans.FP8}, ["--bf16", "--fp8-format", "hybrid"], ["--fp16"]),
        ({"dtype": plans.MXFP8}, ["--fp8-recipe", "mxfp8"], []),
        ({"dtype": plans.FP4}, ["--bf16", "--fp4-format", "e2m1"], ["--fp8-format"]),
        ({"vpp": 1.0}, [], ["--num-virtual-stages-per-pipeline-rank"]),
        ({"dp": 1.0}, [], ["--overlap-grad-reduce"]),
        ({"grad_bytes": 2.0}, ["--grad-reduce-in-bf16"], []),
        ({"dtype": plans.FP16, "grad_bytes": 2.0}, [], ["--accumulate-allreduce-grads-in-fp32"]),
        ({"dtype": plans.FP16}, ["--accumulate-allreduce-grads-in-fp32"], []),
    ],
)
def test_each_choice_becomes_its_arguments_and_no_others(changes, present, absent):
    words = megatron_args(LLAMA, replace(PLAN, **changes))
    assert set(present) <= set(words)
    assert not set(absent) & set(words)


def test_sliding_windows_are_told_or_refused():
    """gpt-oss: a window of 128 in every second layer."""
    told = parsed(megatron_args(shape("gpt-oss-120b"), replace(PLAN, etp=1.0, vpp=1.0)))
    assert (told["--window-size"], told["--window-attn-skip-freq"]) == ("127,0", "2")
    odd = replace(LLAMA, window=128.0, window_share=0.6)
    with pytest.raises(BadField, match=r"^window_share: 0.6"):
        megatron_args(odd, PLAN)


def test_torchtitan_is_told_a_pipeline():
    told = tomllib.loads(torchtitan_toml(LLAMA, PLAN))
    assert told == {
        "training": {
            "local_batch_size": 32,
            "global_batch_size": 512,
            "seq_len": 8192,
            "mixed_precision_param": "bfloat16",
        },
        "parallelism": {
            "data_parallel_replicate_degree": 1,
            "data_parallel_shard_degree": 16,
            "fsdp_reshard_after_forward": "never",
            "tensor_parallel_degree": 8,
            "context_parallel_degree": 1,
            "expert_parallel_degree": 1,
            "pipeline_parallel_degree": 4,
            "pipeline_parallel_schedule": "Interleaved1F1B",
            "pipeline_parallel_microbatch_size": 1,
            "pipeline_parallel_layers_per_stage": 4,
            "pipeline_parallel_first_stage_less_layers": 0,
            "pipeline_parallel_last_stage_less_layers": 0,
        },
        "activation_checkpoint": {"mode": "selective", "selective_ac_option": "op"},
    }


def test_torchtitan_accumulates_gradients_without_a_pipeline():
    plan = replace(PLAN, pp=1.0, vpp=1.0, dp=64.0, zero_stage=3.0, recompute=plans.FULL)
    told = tomllib.loads(torchtitan_toml(LLAMA, plan))
    assert told["training"]["local_batch_size"] == 1
    assert told["training"]["global_batch_size"] == 512
    assert told["parallelism"]["fsdp_reshard_after_forward"] == "always"
    assert told["activation_checkpoint"] == {"mode": "full"}
    plain = replace(plan, zero_stage=0.0)
    told = tomllib.loads(torchtitan_toml(LLAMA, plain))["parallelism"]
    assert (told["data_parallel_replicate_degree"], told["data_parallel_shard_degree"]) == (64, 1)


@pytest.mark.parametrize(
    ("dtype", "converter", "section"),
    [(plans.FP8, "float8", "float8"), (plans.MXFP8, "mx", "mx")],
)
def test_torchtitan_converts_the_model_to_eight_bits(dtype, converter, section):
    told = tomllib.loads(torchtitan_toml(LLAMA, replace(PLAN, dtype=dtype)))
    assert told["model"]["converters"] == [converter]
    assert section in told


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sequence_parallel": 0.0}, "sequence_parallel"),
        ({"dtype": plans.FP16}, "dtype"),
        ({"dtype": plans.FP4}, "dtype"),
        ({"ep": 4.0, "etp": 8.0}, "etp"),
        ({"ep": 32.0, "etp": 1.0}, "ep"),
        ({"frozen": 1.0}, "frozen"),
        ({"cp": 2.0, "zero_stage": 0.0}, "zero_stage"),
        ({"grad_bytes": 2.0}, "grad_bytes"),
        ({"shard_ranks": 3.0}, "shard_ranks"),
        ({"cp": 2.0, "shard_ranks": 1.0}, "shard_ranks"),
    ],
)
def test_what_torchtitan_cannot_do_is_refused_by_field(changes, field):
    with pytest.raises(BadField, match=rf"^{field}: "):
        torchtitan_toml(LLAMA, replace(PLAN, **changes))


@pytest.mark.parametrize("export", [megatron_args, torchtitan_toml])
def test_a_space_of_plans_is_no_plan(export):
    with pytest.raises(BadField, match=r"^tp: 2 values; one plan at a time"):
        export(LLAMA, replace(PLAN, tp=np.array([1.0, 2.0])))
    assert export(LLAMA, replace(PLAN, tp=np.array([8.0]))) == export(LLAMA, PLAN)


@given(
    tp=st.sampled_from([1, 2, 4, 8]),
    pp=st.sampled_from([1, 2, 4, 8]),
    dp=st.sampled_from([1, 2, 4, 8]),
    micro=st.sampled_from([1, 2, 4]),
    accumulated=st.integers(1, 16),
)
def test_both_programs_are_told_the_same_chips_and_batch(tp, pp, dp, micro, accumulated):
    plan = replace(
        PLAN,
        **{"tp": float(tp), "pp": float(pp), "vpp": 1.0, "dp": float(dp)},
        **{"micro_batch": float(micro), "global_batch": float(dp * micro * accumulated)},
    )
    megatron = parsed(megatron_args(LLAMA, plan))
    titan = tomllib.loads(torchtitan_toml(LLAMA, plan))
    degrees = titan["parallelism"]
    assert degrees["tensor_parallel_degree"] == int(megatron["--tensor-model-parallel-size"])
    assert degrees["pipeline_parallel_degree"] == int(megatron["--pipeline-model-parallel-size"])
    assert titan["training"]["global_batch_size"] == int(megatron["--global-batch-size"])
    local = titan["training"]["local_batch_size"]
    assert titan["training"]["global_batch_size"] % (local * dp) == 0
    assert local == (micro * accumulated if pp > 1 else micro)


OTHER = {
    "tp": 4.0, "pp": 2.0, "vpp": 10.0, "dp": 8.0, "cp": 2.0, "ep": 2.0, "etp": 4.0,
    "micro_batch": 2.0, "global_batch": 256.0, "sequence_parallel": 0.0, "zero_stage": 3.0,
    "shard_ranks": 4.0, "recompute": plans.FULL, "dtype": plans.FP8, "grad_bytes": 2.0,
    "frozen": 1.0,
}  # fmt: skip


def answer(export, model, plan):
    try:
        return export(model, plan)
    except BadField as refused:
        return str(refused)


@pytest.mark.parametrize("export", [megatron_args, torchtitan_toml])
@pytest.mark.parametrize("field", [one.name for one in fields(Plan)])
def test_every_field_of_a_plan_changes_what_is_told_or_is_refused(export, field):
    """Megatron-LM alone has no word for dp: it is what the started processes leave."""
    of_experts = field in {"ep", "etp"}
    model = shape("mixtral-8x7b") if of_experts else LLAMA
    plan = replace(PLAN, vpp=2.0) if of_experts else PLAN
    changed = replace(plan, **{field: OTHER[field]})
    alike = export is megatron_args and field == "dp"
    assert (answer(export, model, changed) == answer(export, model, plan)) == alike


def test_states_sharded_over_a_node_are_told_so():
    plan = replace(PLAN, dp=8.0, cp=2.0, shard_ranks=8.0)
    assert parsed(megatron_args(LLAMA, plan))["--num-distributed-optimizer-instances"] == "2"
    told = tomllib.loads(torchtitan_toml(LLAMA, plan))["parallelism"]
    assert (told["data_parallel_replicate_degree"], told["data_parallel_shard_degree"]) == (2, 4)
    with pytest.raises(BadField, match=r"^shard_ranks: 8 would shard experts over fewer"):
        megatron_args(shape("mixtral-8x7b"), replace(plan, vpp=1.0))


@pytest.mark.parametrize(
    ("layers", "pp", "vpp", "layout"),
    [
        (7, 4, 1, "Ett|tt|tt|tL"),
        (6, 4, 1, "Et|tt|tt|tL"),
        (9, 4, 1, "Ett|ttt|tt|ttL"),
        (6, 4, 2, "E|t|t|t|t|t|t|L"),
        (5, 4, 2, "E|t|t|t|t|t||L"),
        (61, 2, 8, "Ettt|" + "tttt|" * 12 + "ttt|tttt|tttL"),
    ],
)
def test_layers_that_do_not_divide_are_laid_out_as_they_were_counted(layers, pp, vpp, layout):
    """As the step model counts them: so many in the fullest stage, so many in the last."""
    model = replace(LLAMA, layers=float(layers))
    plan = replace(PLAN, pp=float(pp), vpp=float(vpp))
    told = parsed(megatron_args(model, plan))
    assert told["--pipeline-model-parallel-layout"] == layout
    assert "--num-virtual-stages-per-pipeline-rank" not in told
    stages = [sum(chunk.count("t") for chunk in layout.split("|")[i::pp]) for i in range(pp)]
    assert (max(stages), stages[-1]) == stage_layers(model, plan)


def test_torchtitan_is_told_layer_by_layer_what_does_not_divide():
    model = replace(LLAMA, layers=6.0)
    told = tomllib.loads(torchtitan_toml(model, replace(PLAN, vpp=2.0)))["parallelism"]
    layers = [[f"layers.{layer}"] for layer in range(6)]
    assert told["module_fqns_per_model_part"] == [["tok_embeddings"], *layers, ["norm", "output"]]
    assert "pipeline_parallel_layers_per_stage" not in told
    with pytest.raises(BadField, match=r"^vpp: 2 leaves a stage without layers"):
        torchtitan_toml(replace(LLAMA, layers=5.0), replace(PLAN, vpp=2.0))
