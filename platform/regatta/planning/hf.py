"""Shapes from a Hugging Face `config.json`, or from the columns of a runs table written as JSON.

A key that is missing, unknown or of a feature that no formula knows is named in an error. Where a
class of Transformers documents what an absent key means (heads of keys and values as many as of
queries, a head as wide as hidden over heads), that holds here too; nothing else is supplied.
Source: configuration_<model_type>.py of Hugging Face Transformers 4.57; for `chatglm` and
`deepseek`, the configuration files published with the weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from regatta.planning.shapes import (
    MOST_LAYERS,
    MOST_OF_DIM,
    SHOWN,
    BadField,
    Shape,
    from_columns,
)

Config = Mapping[str, Any]

MODELS = Path(__file__).parent / "data" / "hf"  # a config.json of each, by the model's name

# Keys that say nothing about dimensions, of every class or of one.
_OF_NO_DIMENSION = """
    architectures auto_map model_type dtype torch_dtype transformers_version use_cache name_or_path
    return_dict return_dict_in_generate output_attentions output_hidden_states output_scores
    output_router_logits torchscript is_decoder is_encoder_decoder cross_attention_hidden_size
    add_cross_attention chunk_size_feed_forward pruned_heads use_bfloat16 tie_encoder_decoder
    finetuning_task id2label label2id num_labels problem_type task_specific_params
    tokenizer_class prefix summary_activation summary_proj_to_labels summary_type
    summary_use_proj quantization_config quantization_bit pretraining_tp attn_implementation
    temperature top_p typical_p do_sample num_beams num_beam_groups num_return_sequences
    early_stopping length_penalty repetition_penalty diversity_penalty max_length min_length
    no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids suppress_tokens
    begin_suppress_tokens remove_invalid_values exponential_decay_length_penalty
    max_position_embeddings n_positions n_ctx seq_length initial_context_length original_rope
    rope_theta rope_scaling rope_parameters rotary_pct rotary_emb_base partial_rotary_factor
    rope_ratio rotary_dim hidden_act activation_function initializer_range init_method_std
    attention_bias mlp_bias qkv_bias add_qkv_bias add_bias_linear use_qkv_bias use_qk_norm
    scoring_func topk_method topk_group n_group routed_scaling_factor seq_aux aux_loss_alpha
    router_aux_loss_coef router_jitter_noise ep_size num_nextn_predict_layers swiglu_limit
    scale_attn_weights scale_attn_by_inverse_layer_idx reorder_and_upcast_attn
    use_parallel_residual apply_query_key_layer_scaling attention_softmax_in_fp32
    apply_residual_connection_post_layernorm bias_dropout_fusion fp32_residual_connection
    pre_seq_len prefix_projection interleaved_qkv post_layer_norm rmsnorm qk_head_dim
    experts_per_token vocab_size num_hidden_layers top_k
"""
_NO_DIMENSION_ENDS = ("_token_id", "dropout", "_prob", "pdrop", "_eps", "_epsilon")
_COLUMNS = """
    id model params_B layers hidden heads kv_heads head_dim ffn_hidden gated_ffn vocab seq_len
    experts top_k moe_ffn_hidden shared_experts
"""
_COUNTED = _COLUMNS.replace("gated_ffn", "")  # these are never true or false
_OTHER_COLUMNS = """
    group config_id core verified arch_verified task source source_loc stack stack_release gpu
    gpu_mem_GB gpus_per_node intra_node_link inter_node_net inter_net_GBps_per_gpu n_gpus tp pp vpp
    dp cp ep etp sequence_parallel zero_stage zero_note micro_batch global_batch grad_accum
    recompute dtype iter_time_s iter_time_basis tflops_per_gpu tflops_kind mfu_pct hfu_pct
    tokens_s_gpu tokens_s_total peak_mem_GB mem_note status quality notes
"""  # of a run, not of its model: a whole row may be given


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """Configurations read in one way; tied: what an absent `tie_word_embeddings` means."""

    read: Callable[[_Reader], dict[str, float]]
    tied: bool = False


class _Reader:
    """A configuration that remembers which of its keys were asked for."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.seen: set[str] = set()

    def count(self, key: str, *, default: float | None = None, least: int = 1) -> float:
        """A whole number; absent or null means the default. Raises: BadField."""
        self.seen.add(key)
        value = self.config.get(key)
        if value is None:
            if default is None:
                raise BadField(key, "is missing from config.json; give a whole number")
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
            raise BadField(key, f"{value!r} is no whole number")
        if not least <= value <= MOST_OF_DIM:
            right = f"at most {MOST_OF_DIM:,.0f}" if value > least else f"at least {least}"
            raise BadField(key, f"{repr(value)[:SHOWN]} is out of range; {right} is right")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """A truth value; absent means the default. Raises: BadField."""
        self.seen.add(key)
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            raise BadField(key, f"{value!r} is neither true nor false")
        return value

    def items(self, key: str) -> list[Any]:
        """A list; absent or null means an empty one. Raises: BadField."""
        self.seen.add(key)
        value = self.config.get(key) or []
        if not isinstance(value, list):
            raise BadField(key, f"{value!r} is no list")
        return value


@cache
def known_models() -> Mapping[str, Config]:
    """The configurations that come with the product, by the name of the model."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(MODELS.glob("*.json"))}


def read_model(description: Config, *, seq_len: float | None = None) -> Shape:
    """A shape from `M.json`: a config.json if it has a `model_type`, else the columns of a run.

    seq_len: tokens of one sequence; required for a config.json, which only knows the longest.
    Raises: BadField naming the key.
    """
    if not isinstance(description, Mapping):
        raise BadField("model", "a JSON object is right: a config.json, or columns with values")
    if "model_type" in description:
        if seq_len is None:
            raise BadField("seq_len", "give the tokens of one sequence; config.json has no such")
        return from_hf_config(description, seq_len=seq_len)
    if unknown := sorted(set(description) - set((_COLUMNS + _OTHER_COLUMNS).split())):
        raise BadField(unknown[0], f"unknown; a model has {', '.join(_COLUMNS.split())}")
    said = description if seq_len is None else {**description, "seq_len": seq_len}
    return from_columns({key: _text(key, value) for key, value in said.items()})


def from_hf_config(config: Config, *, seq_len: float) -> Shape:
    """The shape that a config.json describes, for sequences of seq_len tokens.

    Main model only: layers that predict further tokens (DeepSeek-V3) are not counted.
    Raises: BadField for an unknown model_type or key, and for a missing or impossible value.
    """
    kind = str(config.get("model_type"))
    if kind not in _FAMILIES:
        raise BadField("model_type", f"{kind!r} is unknown; known are {', '.join(_FAMILIES)}")
    if not 1 <= seq_len <= MOST_OF_DIM:
        right = f"1 to {MOST_OF_DIM:,.0f} is right"
        raise BadField("seq_len", f"{seq_len} is out of range; {right}")
    family, reader = _FAMILIES[kind], _Reader(config)
    dimensions = family.read(reader)
    tied = float(reader.flag("tie_word_embeddings", default=family.tied))
    unknown = sorted(set(config) - reader.seen - set(_OF_NO_DIMENSION.split()))
    unknown = [key for key in unknown if not key.startswith("_")]
    unknown = [key for key in unknown if not key.endswith(_NO_DIMENSION_ENDS)]
    if unknown:
        raise BadField(
            unknown[0],
            f"unknown to {kind}; leave out {', '.join(unknown)} if they change no dimension",
        )
    if dimensions["layers"] > MOST_LAYERS:
        right = f"at most {MOST_LAYERS:,.0f} is right"
        raise BadField("layers", f"{dimensions['layers']:g} is out of range; {right}")
    shape = Shape(**dimensions, seq_len=float(seq_len), tied_embeddings=tied)
    if shape.heads % shape.kv_heads:
        raise BadField(
            "num_key_value_heads", f"{shape.kv_heads:g} does not divide {shape.heads:g}"
        )
    if shape.dense_layers > shape.layers:
        raise BadField(
            "first_k_dense_replace", f"{shape.dense_layers:g} of {shape.layers:g} layers"
        )
    if shape.top_k > shape.experts:
        raise BadField("num_experts_per_tok", f"{shape.top_k:g} of {shape.experts:g} experts")
    return shape


def _attention(r: _Reader) -> dict[str, float]:
    """Grouped-query attention under the names most classes use."""
    hidden, heads = r.count("hidden_size"), r.count("num_attention_heads")
    head_dim = r.count("head_dim", default=hidden / heads)
    return {
        "layers": r.count("num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": r.count("num_key_value_heads", default=heads),
        "head_dim": head_dim,
        "v_head_dim": head_dim,
        "ffn_hidden": r.count("intermediate_size"),
        "ffn_matrices": 3.0,
        "vocab": r.count("vocab_size"),
    }


def _dense(r: _Reader) -> dict[str, float]:
    return _attention(r) | _window(r)


def _window(r: _Reader) -> dict[str, float]:
    """Sliding attention: which layers have it, by list, by number or all."""
    used = r.flag("use_sliding_window", default=True)
    window = r.count("sliding_window", default=0)
    layers = r.count("num_hidden_layers")
    first = r.count("max_window_layers", default=0, least=0)
    kinds = r.items("layer_types")
    if kinds and len(kinds) != layers:
        raise BadField("layer_types", f"{len(kinds)} entries for {layers:g} layers")
    sliding = kinds.count("sliding_attention") if kinds else max(0.0, layers - first)
    if not used or not window or not sliding:
        return {}
    return {"window": window, "window_share": sliding / layers}


def _gpt2(r: _Reader) -> dict[str, float]:
    hidden, heads = r.count("n_embd"), r.count("n_head")
    return {
        "layers": r.count("n_layer"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": hidden / heads,
        "v_head_dim": hidden / heads,
        "ffn_hidden": r.count("n_inner", default=4 * hidden),
        "ffn_matrices": 2.0,
        "vocab": r.count("vocab_size"),
    }


def _gpt_neox(r: _Reader) -> dict[str, float]:
    return _attention(r) | {"ffn_matrices": 2.0}


def _chatglm(r: _Reader) -> dict[str, float]:
    heads = r.count("num_attention_heads")
    grouped = r.flag("multi_query_attention", default=False)
    groups = r.count("multi_query_group_num", default=1)
    head_dim = r.count("kv_channels")
    return {
        "layers": r.count("num_layers"),
        "hidden": r.count("hidden_size"),
        "heads": heads,
        "kv_heads": groups if grouped else heads,
        "head_dim": head_dim,
        "v_head_dim": head_dim,
        "ffn_hidden": r.count("ffn_hidden_size"),
        "ffn_matrices": 3.0,
        "vocab": r.count("padded_vocab_size" if "padded_vocab_size" in r.config else "vocab_size"),
    }


def _mixtral(r: _Reader) -> dict[str, float]:
    return _dense(r) | {
        "experts": r.count("num_local_experts"),
        "top_k": r.count("num_experts_per_tok"),
        "expert_ffn_hidden": r.count("intermediate_size"),
    }


def _qwen_moe(r: _Reader) -> dict[str, float]:
    layers = int(r.count("num_hidden_layers"))
    step = int(r.count("decoder_sparse_step", default=1))
    only_dense = set(r.items("mlp_only_layers"))
    dense = [n for n in range(layers) if n in only_dense or (n + 1) % step]
    return _dense(r) | {
        "experts": r.count("num_experts"),
        "top_k": r.count("num_experts_per_tok"),
        "expert_ffn_hidden": r.count("moe_intermediate_size"),
        "shared_ffn_hidden": r.count("shared_expert_intermediate_size", default=0, least=0),
        "dense_layers": float(len(dense)),
    }


def _deepseek_moe(r: _Reader) -> dict[str, float]:
    """Experts as in DeepSeek and GLM-4.5: the first layers dense, some experts for every token."""
    width = r.count("moe_intermediate_size")
    if (every := r.count("moe_layer_freq", default=1)) != 1:
        raise BadField("moe_layer_freq", f"{every:g} is not supported; 1 is right")
    return {
        "experts": r.count("n_routed_experts"),
        "top_k": r.count("num_experts_per_tok"),
        "expert_ffn_hidden": width,
        "shared_ffn_hidden": width * r.count("n_shared_experts", default=0, least=0),
        "dense_layers": r.count("first_k_dense_replace", least=0),
    }


def _deepseek(r: _Reader) -> dict[str, float]:
    return _attention(r) | _deepseek_moe(r)


def _deepseek_mla(r: _Reader) -> dict[str, float]:
    return (
        _attention(r)
        | _deepseek_moe(r)
        | {
            "head_dim": r.count("qk_nope_head_dim"),
            "v_head_dim": r.count("v_head_dim"),
            "q_rank": r.count("q_lora_rank", default=0),
            "kv_rank": r.count("kv_lora_rank"),
            "rope_dim": r.count("qk_rope_head_dim"),
        }
    )


_FAMILIES: Mapping[str, _Family] = {
    "gpt2": _Family(read=_gpt2, tied=True),
    "gpt_neox": _Family(read=_gpt_neox),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "glm", "glm4"), _Family(read=_dense)),
    **dict.fromkeys(("mixtral", "gpt_oss"), _Family(read=_mixtral)),
    **dict.fromkeys(("qwen2_moe", "qwen3_moe"), _Family(read=_qwen_moe)),
    **dict.fromkeys(("deepseek", "glm4_moe"), _Family(read=_deepseek)),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "kimi_k2"), _Family(read=_deepseek_mla)),
    "chatglm": _Family(read=_chatglm),
}


def _text(key: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, bool):
        return str(value)
    if key in _COUNTED.split():
        raise BadField(key, f"{value!r} is no number")
    return str(int(value))
