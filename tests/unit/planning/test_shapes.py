"""Transformers by their dimensions: published counts, and what open columns become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regatta.planning import shapes
from regatta.planning.shapes import BadField

GPT3 = {"layers": "96", "hidden": "12288", "heads": "96", "ffn_hidden": "49152", "vocab": "51200"}
LLAMA3_8B = {
    **{"layers": "32", "hidden": "4096", "heads": "32", "kv_heads": "8", "ffn_hidden": "14336"},
    **{"vocab": "128256", "gated_ffn": "1"},
}
DEEPSEEK_V3 = {
    **{"layers": "61", "hidden": "7168", "heads": "128", "ffn_hidden": "18432", "vocab": "129280"},
    **{"experts": "256", "top_k": "8", "moe_ffn_hidden": "2048", "shared_experts": "1"},
}


def shape(columns, **more):
    return shapes.from_columns({"seq_len": "2048", **columns, **more})


@pytest.mark.parametrize(
    ("columns", "billions", "source"),
    [
        ({**GPT3, "gated_ffn": "0"}, 174.6, "Narayanan 2021, table 1: 174.6"),
        (LLAMA3_8B, 8.03, "Llama 3 model card: 8.03"),
        ({**DEEPSEEK_V3, "params_B": "671"}, 671.0, "DeepSeek-V3 2024, section 4.2: 671"),
    ],
)
def test_parameter_counts_are_the_published_ones(columns, billions, source):
    assert float(shapes.parameters(shape(columns))) / 1e9 == pytest.approx(billions, rel=2e-3), (
        source
    )


def test_a_token_of_deepseek_v3_passes_37_billion_weights():
    active = float(shapes.active_parameters(shape(DEEPSEEK_V3, params_B="671")))
    assert active / 1e9 == pytest.approx(37.0, rel=0.03), "DeepSeek-V3 2024: 37 activated"


def test_the_count_settles_what_the_columns_leave_open():
    read = shape(DEEPSEEK_V3, params_B="671")
    assert (read.dense_layers, read.kv_rank, read.rope_dim) == (3, 512, 64)
    assert shape(DEEPSEEK_V3).kv_rank == 0


def test_step_flops_are_those_of_narayanan_without_recomputation():
    batch, s, layers, h, v = 1536, 2048, 96, 12288, 51200
    # Narayanan 2021, appendix: 96 B s l h^2 (1 + s / 6h) of four passes, 6 B s h V of three.
    published = 72 * batch * s * layers * h**2 * (1 + s / (6 * h)) + 6 * batch * s * h * v
    ours = float(shapes.step_flops(shape(GPT3, gated_ffn="0"), batch))
    assert ours == pytest.approx(published, rel=0.001)


def test_a_window_limits_what_queries_meet():
    half = replace(shape(LLAMA3_8B), window=512.0, window_share=0.5)
    assert float(shapes.attended_tokens(half)) == (2048 + 512) / 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("layers", ""), ("hidden", "wide"), ("vocab", "0"), ("kv_heads", "64"), ("seq_len", "nan")],
)
def test_a_bad_field_is_named(field, value):
    with pytest.raises(BadField) as caught:
        shape(LLAMA3_8B, **{field: value})
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


def test_stacked_shapes_give_what_each_gives():
    both = shapes.stacked([shape(GPT3), shape(LLAMA3_8B)])
    one_by_one = [float(shapes.parameters(shape(c))) for c in (GPT3, LLAMA3_8B)]
    assert np.asarray(shapes.parameters(both)).tolist() == one_by_one
