"""The search: complete, exact, and able to say why."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regatta.hardware.clusters import read_cluster
from regatta.planning import memory, plans, step
from regatta.planning.plans import Plan
from regatta.planning.search import Limits, NothingFits, lower_bound, predict, search, site
from regatta.planning.shapes import BadField, Shape, from_columns
from regatta.planning.space import size, space

SMALL = {"layers": 8, "hidden": 2048, "heads": 16, "ffn_hidden": 8192, "vocab": 32000}


def shape(**more: int) -> Shape:
    row = {**SMALL, "seq_len": 2048, **more}
    return from_columns({name: str(value) for name, value in row.items()})


def on(count: int, chip: str = "A100-80GB", **more: float):
    return site(read_cluster({"chips": {chip: count}, **more}))


def splits(model: Shape, chips: int, batch: int):
    """Every valid tp, pp, vpp, dp, cp and micro-batch, one by one, as a person would list them."""
    few = range(1, chips + 1)
    for tp, pp, cp, vpp, mb in product(few, few, few, range(1, 12), range(1, batch + 1)):
        dp = chips // (tp * pp * cp)
        if tp * pp * cp * dp != chips or batch % (dp * mb) or pp > model.layers:
            continue
        kv = model.kv_heads
        if model.heads % tp or (kv % tp and tp % kv) or (cp > 1 and model.seq_len % (2 * cp)):
            continue
        counts = any((model.layers + n) % (pp * vpp) == 0 for n in range(4))
        if vpp == 1 or (pp > 1 and counts and batch // (dp * mb) % pp == 0):
            yield {"tp": tp, "pp": pp, "vpp": vpp, "dp": dp, "cp": cp, "micro_batch": mb}


def by_hand(model: Shape, chips: int, batch: int):
    """Every valid plan: the splits with what else is chosen."""
    moe, choices = bool(model.experts), list(product(range(2), range(4), range(3)))
    for split in splits(model, chips, batch):
        tp, pp, cp, dp = (split[name] for name in ("tp", "pp", "cp", "dp"))
        node = 8 // tp
        part = 1 < node < dp * cp and dp * cp % node == 0
        eps = range(1, int(model.experts) + 1) if moe else (1,)
        for ep, etp, (sp, zero, recompute) in product(eps, {1, tp} if moe else {tp}, choices):
            if moe and (model.experts % ep or tp * cp * dp % (ep * etp)):
                continue
            if sp and (tp == 1 or model.seq_len / cp % tp):
                continue
            if zero and (dp * cp == 1 or (zero == 2 and pp > 1)):
                continue
            chosen = {"ep": ep, "etp": etp, "sequence_parallel": sp, "recompute": recompute}
            for shards in (0, node) if part and zero else (0,):
                states = {"zero_stage": zero, "shard_ranks": shards}
                yield Plan(**split, **chosen, **states, global_batch=batch)


CASES = [
    (shape(), 8, 8, "A100-80GB"),
    (shape(hidden=8192, heads=64, kv_heads=8, ffn_hidden=28672), 8, 12, "A100-80GB"),
    (shape(experts=4, top_k=2, moe_ffn_hidden=4096), 4, 4, "H800-80GB"),
    (shape(layers=6, heads=12, hidden=1536), 6, 6, "Ascend-910B"),
]


@pytest.mark.parametrize(("model", "chips", "batch", "chip"), CASES)
def test_the_search_finds_what_brute_force_finds(model, chips, batch, chip):
    at = on(chips, chip)
    fitting, count = [], 0
    for plan in by_hand(model, chips, batch):
        count += 1
        if memory.peak(model, plan, at.machine, at.constants).fits:
            fitting.append(float(step.step(model, plan, at.machine, at.constants).iteration_s))
    found = search(model, at, batch, top=7)
    assert (found.evaluated, found.feasible) == (count, len(fitting))
    assert [item.iteration_s for item in found.plans] == pytest.approx(sorted(fitting)[:7])
    assert found.timed <= found.feasible


@settings(max_examples=25, deadline=None)
@given(
    layers=st.integers(6, 24),  # with fewer, not every batch divides over six chips
    heads=st.sampled_from([4, 8, 12, 16]),
    chips=st.sampled_from([2, 6, 8, 16]),
    batch=st.sampled_from([6, 16, 24]),
    experts=st.sampled_from([0, 8]),
)
def test_no_step_is_faster_than_its_lower_bound(layers, heads, chips, batch, experts):
    model = shape(layers=layers, heads=heads, experts=experts, top_k=min(2, experts))
    at = on(chips)
    all_plans = space(model, chips, batch)
    plan = all_plans.plan(np.arange(len(all_plans.degrees)))
    times = step.step(model, plan, at.machine, at.constants).iteration_s
    bound = lower_bound(model, plan, step.layer_times(model, plan, at.machine, at.constants))
    assert np.all(bound <= times * (1 + 1e-12))


@settings(max_examples=15, deadline=None)
@given(network=st.floats(1, 100), factor=st.floats(1, 10))
def test_more_bandwidth_never_makes_the_best_plan_slower(network, factor):
    slow, fast = (
        search(shape(), on(16, network_GBps_per_chip=network * f), 16, top=1).plans[0]
        for f in (1, factor)
    )
    assert fast.iteration_s <= slow.iteration_s * (1 + 1e-12)


def test_pruning_changes_nothing():
    pruned = search(shape(), on(96), 96)
    every = search(shape(), on(96), 96, picture=10**9)
    assert [item.plan for item in pruned.plans] == [item.plan for item in every.plans]
    assert pruned.timed < every.feasible == len(every.cloud.times)
    assert every.cloud.times.min() == pytest.approx(every.plans[0].iteration_s)


def test_a_picture_of_some_plans_shows_plans_as_they_are():
    at = on(96)
    found = search(shape(), at, 96, picture=500)
    assert 0.5 * 500 < len(found.cloud.times) < 3 * 500 < found.feasible
    for point in (0, 100, -1):
        alone = predict(shape(), at, found.cloud.plan(point))
        assert alone.iteration_s == pytest.approx(found.cloud.times[point])
        assert alone.peak_bytes == pytest.approx(found.cloud.peaks[point])


@pytest.mark.parametrize(("model", "chips", "batch", "chip"), CASES)
def test_the_size_of_a_space_is_known_before_it_is_built(model, chips, batch, chip):
    rows = len(space(model, chips, batch).degrees)
    assert rows <= size(model, chips, batch) <= 2 * rows  # odd interleavings are left out later


def test_constraints_hold_and_names_are_checked():
    found = search(shape(), on(16), 64, limits=Limits(fix={"tp": [4], "recompute": [1]}))
    assert {(item.plan.tp, item.plan.recompute) for item in found.plans} == {(4, plans.SELECTIVE)}
    with pytest.raises(BadField, match="tensor: unknown; one of tp"):
        search(shape(), on(16), 64, limits=Limits(fix={"tensor": [4]}))
    with pytest.raises(BadField, match="tp: no plan of 16 chips has these values"):
        search(shape(), on(16), 64, limits=Limits(fix={"tp": [3]}))


def test_headroom_leaves_memory_free():
    at = on(8)
    found = search(shape(), at, 64, limits=Limits(headroom=0.5), top=50)
    needs = [
        memory.peak(shape(), item.plan, replace(at.machine, memory_bytes=40 * 2**30), at.constants)
        for item in found.plans
    ]
    assert all(held.fits for held in needs)
    assert found.feasible < search(shape(), at, 64).feasible


def test_what_does_not_fit_says_by_how_much_and_what_would_fit():
    big = shape(layers=96, hidden=12288, heads=96, ffn_hidden=49152)
    with pytest.raises(NothingFits, match=r"which needs .* GiB of 80\.0; \d+ chips, or") as missed:
        search(big, on(8), 64)
    assert missed.value.peak_bytes > 80 * 2**30
    enough = int(str(missed.value).split("; ")[-1].split()[0])
    assert search(big, on(enough), 64).feasible


def test_a_batch_that_no_split_divides_is_named():
    with pytest.raises(BadField, match=r"3 divides in no way over 1111 chips; .* such as 1111"):
        search(shape(), on(1111), 3)


def test_several_kinds_are_not_for_this_search():
    with pytest.raises(BadField, match="chips: A100-80GB, H800-80GB: one kind"):
        site(read_cluster({"chips": {"A100-80GB": 8, "H800-80GB": 8}}))


def test_each_runner_up_says_what_it_loses():
    first, *others = search(shape(), on(16), 64, top=20).plans
    assert first.why.startswith("fastest; its time goes to ")
    for item in others:
        slower = item.iteration_s - first.iteration_s
        assert "as fast" in item.why or f"{slower:.3g} s" in item.why
        assert sum(item.breakdown.values()) == pytest.approx(item.iteration_s)


def test_a_hint_is_not_looked_for_without_end(monkeypatch):
    big = shape(layers=96, hidden=12288, heads=96, ffn_hidden=49152)
    monkeypatch.setattr("regatta.planning.search.HINT_ROWS", 10)
    with pytest.raises(NothingFits, match=r"of 80\.0; chips with \d+ GiB free") as missed:
        search(big, on(8), 64)
    assert missed.value.enough_chips is None
