"""The time of a step: worked cases, and properties over many plans."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regatta.hardware.catalogue import find
from regatta.planning import calibration, plans, shapes
from regatta.planning.layers import LayerTimes, layer_times
from regatta.planning.machines import machine
from regatta.planning.plans import Plan
from regatta.planning.shapes import Shape
from regatta.planning.step import pipeline_hop, stage_layers, step

K = calibration.constants("A100-80GB", "megatron-core", "2025-02")
A100 = machine(find("A100-80GB"))
DENSE = Shape(
    **{"layers": 48.0, "hidden": 4096.0, "heads": 32.0, "kv_heads": 8.0, "head_dim": 128.0},
    **{"v_head_dim": 128.0, "ffn_hidden": 14336.0, "ffn_matrices": 3.0, "vocab": 128256.0},
    seq_len=4096.0,
)
MOE = replace(
    DENSE,
    **{"experts": 64.0, "top_k": 4.0, "expert_ffn_hidden": 1408.0, "kv_rank": 512.0},
    shared_ffn_hidden=2816.0,
)
ONE = Plan(
    **{"tp": 1.0, "pp": 1.0, "vpp": 1.0, "dp": 1.0, "cp": 1.0, "ep": 1.0},
    micro_batch=1.0,
    global_batch=8.0,
)
power = st.sampled_from([1.0, 2.0, 4.0, 8.0])


@st.composite
def cases(draw):
    pp = draw(power)
    plan = Plan(
        tp=draw(power),
        pp=pp,
        vpp=draw(power) if pp > 1 else 1.0,
        dp=(dp := draw(st.sampled_from([8.0, 16.0, 64.0]))),
        cp=draw(st.sampled_from([1.0, 2.0, 4.0])),
        ep=draw(power),
        micro_batch=(micro := draw(st.sampled_from([1.0, 2.0]))),
        global_batch=dp * micro * draw(st.integers(1, 64)),
        sequence_parallel=draw(st.sampled_from([0.0, 1.0])),
        zero_stage=draw(st.sampled_from([0.0, 1.0, 2.0, 3.0])),
        recompute=draw(st.sampled_from([plans.NONE, plans.SELECTIVE, plans.FULL])),
        dtype=draw(st.sampled_from([plans.BF16, plans.FP8, plans.MXFP8, plans.FP4])),
        frozen=draw(st.sampled_from([0.0, 1.0])),
    )
    shape = draw(st.sampled_from([DENSE, MOE]))
    return (shape, plan if shape.experts else replace(plan, ep=1.0))


@given(cases())
@settings(deadline=None)
def test_the_breakdown_sums_to_the_total_and_no_part_is_negative(case):
    shape, plan = case
    taken = step(shape, plan, A100, K)
    assert all(np.all(np.asarray(part) >= 0) for part in taken.breakdown.values())
    assert float(taken.iteration_s) == sum(float(part) for part in taken.breakdown.values())


@given(
    cases(),
    st.sampled_from(["memory_Bps", "intra_Bps", "inter_Bps", "reach_16_flops", "reach_8_flops"]),
    st.floats(1.0, 10.0),
)
@settings(deadline=None)
def test_a_faster_link_or_chip_is_never_slower(case, field, factor):
    shape, plan = case
    faster = replace(A100, **{field: getattr(A100, field) * factor})
    before = float(step(shape, plan, A100, K).iteration_s)
    assert float(step(shape, plan, faster, K).iteration_s) <= before * (1 + 1e-12)


@given(st.lists(cases(), min_size=2, max_size=6))
@settings(deadline=None, max_examples=30)
def test_an_array_of_plans_gives_what_each_gives(many):
    shape, plan = (shapes.stacked([case[i] for case in many]) for i in (0, 1))
    together = np.asarray(step(shape, plan, A100, K).iteration_s)
    alone = [float(step(one, how, A100, K).iteration_s) for one, how in many]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


@given(cases())
@settings(deadline=None, max_examples=30)
def test_a_step_from_a_table_of_layers_is_the_same(case):
    shape, plan = case
    table = layer_times(shape, plan, A100, K)
    again = LayerTimes(**{f.name: getattr(table, f.name) for f in fields(table)})
    direct = float(step(shape, plan, A100, K).iteration_s)
    assert float(step(shape, plan, A100, K, again).iteration_s) == direct


def test_the_bubble_is_that_of_narayanan():
    """Without head and transfers: (p - 1) / (v m) of the ideal time, Narayanan 2021, 2.2."""
    free = replace(K, pipeline_exposed=0.0, latency_s=0.0, straggle=0.0)
    shape = replace(DENSE, vocab=1e-9)
    plan = replace(ONE, pp=4.0, vpp=3.0, global_batch=16.0)
    parts = step(shape, plan, A100, free).breakdown
    ideal = sum(float(parts[name]) for name in ("gemm", "attention", "elementwise", "host"))
    assert float(parts["bubble"]) == pytest.approx(ideal * 3 / (3 * 16), rel=1e-4)


def test_a_tensor_parallel_layer_moves_what_korthikanti_counts():
    """Four pairs of gather and scatter of s b h elements, each (t - 1) / t round the ring."""
    free = replace(K, tensor_exposed=1.0, latency_s=0.0, intra=1.0)
    plan = replace(ONE, tp=8.0, sequence_parallel=1.0)
    moved_bytes = 4 * 2 * (7 / 8) * 2 * 4096 * 4096
    taken = float(layer_times(DENSE, plan, A100, free).tensor_comm_s)
    assert taken == pytest.approx(moved_bytes / A100.intra_Bps, rel=1e-9)


def test_large_products_take_their_flops_at_the_reached_rate():
    free = replace(K, gemm_traffic=0.0)
    flops = 6 * 4096 * (4096 * (32 + 16) * 128 + 4096 * 4096 + 3 * 4096 * 14336)
    taken = float(layer_times(DENSE, ONE, A100, free).gemm_s)
    assert taken == pytest.approx(flops / (A100.reach_16_flops * K.gemm_16), rel=1e-9)


@pytest.mark.parametrize(("width", "slower"), [(108.0, True), (150.0, True), (112.0, False)])
def test_heads_that_miss_the_tensor_cores_are_slow_without_fused_attention(width, slower):
    shape = replace(DENSE, head_dim=width, v_head_dim=width)
    plain = replace(K, fused_attention=0.0)
    one, wider = (
        float(layer_times(replace(shape, head_dim=d), ONE, A100, plain).attention_s)
        for d in (width, 152.0)
    )
    assert (one > wider) == slower


def test_in_32_bits_twice_as_many_bytes_cross_the_links():
    plan, instant = replace(ONE, tp=4.0), replace(K, latency_s=0.0)
    half, full = (
        layer_times(DENSE, replace(plan, dtype=dtype), A100, instant).tensor_comm_s
        for dtype in (plans.BF16, plans.FP32)
    )
    assert float(full) == pytest.approx(2 * float(half))


def test_attention_is_not_fused_in_32_bits():
    fused, plain = replace(K, fused_attention=1.0), replace(K, fused_attention=0.0)
    for dtype, alike in ((plans.BF16, False), (plans.FP32, True)):
        plan = replace(ONE, dtype=dtype)
        one, other = (float(layer_times(DENSE, plan, A100, k).attention_s) for k in (fused, plain))
        assert (one == other) == alike


@pytest.mark.parametrize(("ranks", "least", "most"), [(8.0, 0.9, 1.1), (1024.0, 1.5, 1000.0)])
def test_a_broadcast_of_every_shard_costs_the_more_the_more_ranks_there_are(ranks, least, most):
    plan = replace(ONE, dp=ranks, global_batch=8 * ranks)
    each, once = (
        float(step(DENSE, plan, A100, k).breakdown["data_comm"])
        for k in (replace(K, broadcast_shards=1.0), K)
    )
    assert least < each / once < most


def test_frozen_weights_save_their_gradients():
    whole = float(layer_times(DENSE, ONE, A100, K).gemm_s)
    frozen = float(layer_times(DENSE, replace(ONE, frozen=1.0), A100, K).gemm_s)
    assert frozen == pytest.approx(whole * 2 / 3)


def test_uneven_layers_leave_the_last_stage_fewer():
    plan = replace(ONE, pp=12.0)
    most, last = stage_layers(replace(DENSE, layers=70.0), plan)
    assert (float(most), float(last)) == (6, 5)


def test_without_a_pipeline_there_is_neither_bubble_nor_transfer():
    parts = step(DENSE, ONE, A100, K).breakdown
    assert float(parts["bubble"]) == float(parts["pipeline_comm"]) == 0
    assert float(pipeline_hop(DENSE, ONE, A100, K)) == 0
