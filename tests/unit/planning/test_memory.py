"""Peak memory: worked cases of the papers, and properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regatta.hardware.catalogue import find
from regatta.planning import calibration, memory, plans
from regatta.planning.layers import layer_times
from regatta.planning.machines import machine
from regatta.planning.plans import Plan
from regatta.planning.shapes import Shape

SHIPPED = calibration.shipped()
K = calibration.constants("A100-80GB", "megatron-core", "2025-02")
PLAIN = replace(
    K,
    **{"activation_share": 1.0, "gradient_copies": 1.0, "optimizer_copies": 1.0},
    **{"matrix_copies": 2.5, "selective_share": 1.0, "fused_attention": 0.0, "dropout": 1.0},
)
A100 = machine(find("A100-80GB"))
S, B, H, A = 2048.0, 1.0, 12288.0, 96.0
GPT3 = Shape(
    **{"layers": 96.0, "hidden": H, "heads": A, "kv_heads": A, "head_dim": 128.0},
    **{"v_head_dim": 128.0, "ffn_hidden": 4 * H, "ffn_matrices": 2.0, "vocab": 51200.0},
    seq_len=S,
    tied_embeddings=1.0,
)
PLAN = Plan(
    **{"tp": 8.0, "pp": 8.0, "vpp": 1.0, "dp": 4.0, "cp": 1.0, "ep": 1.0},
    micro_batch=B,
    global_batch=256.0,
)
degree = st.sampled_from([1.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize(
    ("sequence_parallel", "bytes_per_sbh"),
    [
        (0.0, 10 + 24 / 8 + 5 * A * S / (H * 8)),  # equation 2
        (1.0, (34 + 5 * A * S / H) / 8),  # equation 4
    ],
)
def test_activations_of_a_layer_are_those_of_korthikanti(sequence_parallel, bytes_per_sbh):
    plan = replace(PLAN, sequence_parallel=sequence_parallel)
    _, kept = memory.layer_activations(GPT3, plan, PLAIN)
    assert float(kept) == pytest.approx(S * B * H * bytes_per_sbh, rel=1e-4)


def test_selective_recomputation_drops_the_score_matrices():
    plan = replace(PLAN, sequence_parallel=1.0, recompute=plans.SELECTIVE)
    _, kept = memory.layer_activations(GPT3, plan, PLAIN)
    assert float(kept) == pytest.approx(34 * S * B * H / 8, rel=1e-3), "equation 5"


def test_selective_recomputation_of_products_keeps_half_and_takes_longer_than_that_of_scores():
    titan = calibration.constants("H100-80GB", "torchtitan", "2025", replace(SHIPPED, factors={}))
    plan, scores = replace(PLAN, recompute=plans.SELECTIVE), replace(titan, selective_share=1.0)
    kept, more = (float(memory.layer_activations(GPT3, plan, k)[1]) for k in (titan, scores))
    assert kept == pytest.approx(more / 2)
    again, once = (
        float(layer_times(GPT3, plan, A100, k).recompute_s)
        for k in (titan, replace(titan, selective_products=0.0))
    )
    assert again > once


def test_full_recomputation_keeps_a_layers_input():
    _, kept = memory.layer_activations(GPT3, replace(PLAN, recompute=plans.FULL), PLAIN)
    assert float(kept) == 2 * S * B * H


def test_states_are_those_of_rajbhandari():
    """2 + 2 + 12 bytes a weight, cut by stage over the ranks: ZeRO 2020, figure 1."""
    one = replace(PLAN, tp=1.0, pp=1.0, dp=64.0, grad_bytes=2.0)
    weights = sum(float(part) for part in memory.step.stage_parameters(GPT3, one))
    for stage, each in ((0, 16), (1, 4 + 12 / 64), (2, 2 + 14 / 64), (3, 16 / 64)):
        held = memory.state_bytes(GPT3, replace(one, zero_stage=float(stage)), PLAIN)
        states = sum(float(held[name]) for name in ("weights", "gradients", "optimizer"))
        assert states == pytest.approx(each * weights)


def test_in_32_bits_weights_are_their_own_master_and_activations_are_twice_as_wide():
    one = replace(PLAN, dtype=plans.FP32)
    held = memory.state_bytes(GPT3, replace(one, zero_stage=0.0), PLAIN)
    weights = sum(float(part) for part in memory.step.stage_parameters(GPT3, one))
    assert sum(float(part) for part in held.values()) == pytest.approx(16 * weights)
    full = replace(one, recompute=plans.FULL)
    assert float(memory.layer_activations(GPT3, full, PLAIN)[1]) == 4 * S * B * H


def kept_per_token(dtype: float, *, shape: Shape = GPT3, **more: float) -> float:
    """Bytes of a layer on one chip that uses fused attention, over tokens and hidden size."""
    k = replace(PLAIN, fused_attention=1.0, **more)
    one = replace(PLAN, tp=1.0, dtype=dtype)
    _, kept = memory.layer_activations(shape, one, k)
    return (float(kept) - 4 * A * S * B) / (S * B * H)


def test_products_in_8_bits_keep_narrow_inputs_beside_what_attention_and_activation_keep():
    """16 bits: 2 norms, 2 inputs, q, k, v, out, and 4 + 4 in the feed-forward, of 2 bytes each."""
    byte = 1 + 1 / 32  # with its share of a block's scale
    assert kept_per_token(plans.BF16, dropout=0.0) == pytest.approx(2 * 16)
    assert kept_per_token(plans.FP8, dropout=0.0) == pytest.approx(2 * 10 + byte * (2 + 1 + 4))
    assert kept_per_token(plans.FP8, dropout=0.0, wide_inputs=1.0) == pytest.approx(2 * 16)


def test_dropout_keeps_two_masks_of_a_byte_but_in_gated_models():
    assert kept_per_token(plans.BF16) == pytest.approx(2 * 16 + 2)
    gated = replace(GPT3, ffn_matrices=3.0)
    assert kept_per_token(plans.BF16, shape=gated) == pytest.approx(2 * 20)


def test_experts_weighed_before_their_last_product_keep_no_outcome():
    moe = replace(GPT3, experts=8.0, top_k=2.0, expert_ffn_hidden=H)
    last = kept_per_token(plans.BF16, shape=moe, weighed_last=1.0)
    assert last - kept_per_token(plans.BF16, shape=moe, weighed_last=0.0) == pytest.approx(2 * 2)
    old, new = (
        calibration.constants("H100-80GB", "megatron-lm", at) for at in ("2024", "2025-05")
    )
    assert (old.weighed_last, new.weighed_last) == (1, 0)


def test_weights_that_stay_in_16_bits_have_two_copies_in_8():
    one = replace(PLAN, dtype=plans.FP8, zero_stage=0.0)
    plain, copied = (
        float(memory.state_bytes(GPT3, one, replace(PLAIN, weight_copies=k))["weights"])
        for k in (0.0, 1.0)
    )
    assert copied == pytest.approx(2 * plain)


def test_interleaving_holds_more_by_korthikantis_share():
    plain = float(memory.in_flight(PLAN))
    interleaved = float(memory.in_flight(replace(PLAN, vpp=3.0)))
    assert interleaved / plain == pytest.approx(1 + (8 - 1) / (8 * 3)), "section 4.2.3"


def test_a_short_step_holds_no_more_than_its_micro_batches():
    assert float(memory.in_flight(replace(PLAN, global_batch=8.0))) == 2


@given(
    *(degree for _ in range(4)),
    st.sampled_from([0.0, 1.0, 2.0, 3.0]),
    st.sampled_from([plans.NONE, plans.SELECTIVE, plans.FULL]),
    st.sampled_from([0.0, 8.0]),
)
@settings(deadline=None)
def test_memory_is_never_negative_and_sums_to_its_total(tp, pp, dp, cp, stage, recompute, experts):
    shape = replace(GPT3, experts=experts, top_k=min(2.0, experts), expert_ffn_hidden=H)
    plan = replace(
        PLAN, tp=tp, pp=pp, dp=dp, cp=cp, zero_stage=stage, recompute=recompute, global_batch=64.0
    )
    held = memory.peak(shape, plan, A100, K)
    assert all(np.all(np.asarray(part) >= 0) for part in held.breakdown.values())
    assert float(held.total_bytes) == sum(float(part) for part in held.breakdown.values())
    assert bool(held.fits) == (float(held.total_bytes) <= A100.memory_bytes)


@given(st.sampled_from([0.0, 1.0, 2.0]), degree)
@settings(deadline=None)
def test_a_higher_zero_stage_never_holds_more(stage, dp):
    plan = replace(PLAN, dp=dp, global_batch=64.0)
    lower = memory.peak(GPT3, replace(plan, zero_stage=stage), A100, K)
    higher = memory.peak(GPT3, replace(plan, zero_stage=min(2.0, stage + 1)), A100, K)
    assert float(higher.total_bytes) <= float(lower.total_bytes)
