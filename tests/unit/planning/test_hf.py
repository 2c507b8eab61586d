"""Shapes from the configurations of published models, and what is refused."""

from __future__ import annotations

import json

import pytest

from regatta.planning.hf import MODELS as CONFIGS
from regatta.planning.hf import from_hf_config, read_model
from regatta.planning.shapes import BadField, active_parameters, parameters

# Counts in billions as their makers publish them: all, then active per token (with embeddings).
PUBLISHED = [
    ("gpt2", 0.1244, None),  # safetensors of openai-community/gpt2, with positions and biases
    ("gpt-neox-20b", 20.55, None),  # Black et al. 2022
    ("llama-2-70b", 68.98, None),
    ("llama-3-8b", 8.03, None),
    ("llama-3.1-70b", 70.55, None),
    ("qwen2.5-72b", 72.7, None),
    ("qwen3-8b", 8.19, None),
    ("qwen3-30b-a3b", 30.53, 3.35),
    ("mistral-7b-v0.1", 7.24, None),
    ("mixtral-8x7b", 46.7, 12.9),
    ("deepseek-v3", 671.0, 37.6),  # 14.8 T tokens report: 671 B, 37 B active without the embedding
    ("deepseek-v2-lite", 15.7, None),
    ("glm-4-9b", 9.4, None),
    ("glm-4.5-air", 106.85, None),
    ("gpt-oss-120b", 116.83, None),
]


def config(name):
    return json.loads((CONFIGS / f"{name}.json").read_text())


@pytest.mark.parametrize(("name", "count", "active"), PUBLISHED)
def test_parameters_are_as_published(name, count, active):
    shape = from_hf_config(config(name), seq_len=4096)
    assert parameters(shape) / 1e9 == pytest.approx(count, rel=0.008)
    if active:
        assert active_parameters(shape) / 1e9 == pytest.approx(active, rel=0.02)


def test_latent_attention_shared_experts_and_dense_layers_of_deepseek_v3():
    """Table of the DeepSeek-V3 report, section 4.2."""
    shape = from_hf_config(config("deepseek-v3"), seq_len=4096)
    assert (shape.q_rank, shape.kv_rank, shape.rope_dim, shape.head_dim) == (1536, 512, 64, 128)
    assert (shape.shared_ffn_hidden, shape.dense_layers, shape.experts) == (2048, 3, 256)
    assert from_hf_config(config("deepseek-v2-lite"), seq_len=4096).q_rank == 0


def test_sliding_windows_count_where_they_are_used():
    assert from_hf_config(config("mistral-7b-v0.1"), seq_len=8192).window == 4096
    assert from_hf_config(config("qwen2.5-72b"), seq_len=8192).window == 0
    oss = from_hf_config(config("gpt-oss-120b"), seq_len=8192)
    assert (oss.window, oss.window_share) == (128, 0.5)
    some = config("qwen2.5-72b") | {"use_sliding_window": True, "max_window_layers": 60}
    assert from_hf_config(some, seq_len=8192).window_share == 0.25


def test_dense_layers_of_qwen_are_those_named_and_those_between():
    some = config("qwen3-30b-a3b") | {"decoder_sparse_step": 2, "mlp_only_layers": [1, 3]}
    assert from_hf_config(some, seq_len=1).dense_layers == 26


@pytest.mark.parametrize("name", [name for name, _, _ in PUBLISHED])
def test_every_dimension_that_is_missing_is_named(name):
    sound = config(name)
    needed = {"hidden_size", "num_hidden_layers", "n_embd", "n_layer", "num_layers", "n_head"}
    needed |= {"kv_channels", "moe_intermediate_size", "kv_lora_rank", "num_experts_per_tok"}
    for key in needed & set(sound) - {"num_layers" in sound and "num_hidden_layers"}:
        with pytest.raises(BadField, match=rf"^{key}: is missing"):
            from_hf_config({k: v for k, v in sound.items() if k != key}, seq_len=4096)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "^model_type: 'mamba' is unknown; known are gpt2, gpt_neox, "),
        ({"model_type": None}, "^model_type: 'None' is unknown"),
        (
            {"num_wings": 2, "num_fins": 4},
            "^num_fins: unknown to llama; leave out num_fins, ",
        ),
        ({"hidden_size": "wide"}, "^hidden_size: 'wide' is no whole number"),
        ({"hidden_size": 4096.5}, r"^hidden_size: 4096.5 is no whole number"),
        ({"hidden_size": True}, "^hidden_size: True is no whole number"),
        ({"num_attention_heads": 0}, "^num_attention_heads: 0 is out of range; at least 1"),
        ({"num_key_value_heads": 5}, "^num_key_value_heads: 5 does not divide 32"),
        ({"tie_word_embeddings": "yes"}, "^tie_word_embeddings: 'yes' is neither"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_key(changes, message):
    with pytest.raises(BadField, match=message):
        from_hf_config(config("llama-3-8b") | changes, seq_len=4096)


def test_experts_in_every_second_layer_are_refused_rather_than_counted_wrongly():
    with pytest.raises(BadField, match=r"^moe_layer_freq: 2 is not supported; 1 is right"):
        from_hf_config(config("deepseek-v3") | {"moe_layer_freq": 2}, seq_len=4096)
    with pytest.raises(BadField, match=r"^num_experts_per_tok: 9 of 8 experts"):
        from_hf_config(config("mixtral-8x7b") | {"num_experts_per_tok": 9}, seq_len=4096)
    with pytest.raises(BadField, match=r"^layer_types: 1 entries for 36 layers"):
        from_hf_config(config("gpt-oss-120b") | {"layer_types": ["full_attention"]}, seq_len=4096)


def test_a_model_is_a_configuration_or_the_columns_of_a_run():
    columns = {
        **{"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn_hidden": 14336},
        **{"gated_ffn": True, "vocab": 128256, "seq_len": 8192, "experts": None},
    }
    by_columns = read_model(columns)
    assert by_columns == read_model(config("llama-3-8b"), seq_len=8192)
    assert read_model(columns, seq_len=4096).seq_len == 4096
    assert read_model(columns | {"gpu": "H100-80GB", "tp": 8, "notes": ""}) == by_columns


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ([], "^model: a JSON object"),
        ({"layerz": 2}, "^layerz: unknown; a model has id, model, params_B, layers"),
        ({"layers": 2}, "^hidden: is empty"),
        ({"model_type": "llama"}, "^seq_len: give the tokens"),
    ],
)
def test_what_is_no_model_is_refused(model, message):
    with pytest.raises(BadField, match=message):
        read_model(model)


def test_a_sequence_has_at_least_one_token():
    with pytest.raises(BadField, match=r"^seq_len: 0 is out of range"):
        from_hf_config(config("llama-3-8b"), seq_len=0)
