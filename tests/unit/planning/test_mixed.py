"""Plans over unlike chips: shares sum up, closed form and simulator agree, losses are told."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regatta.hardware.clusters import read_cluster
from regatta.planning.blocks import (
    after_pipeline_s,
    block_s,
    of_one_kind,
    pipeline,
    pipeline_s,
    shared,
)
from regatta.planning.mixed import block_schedule, partitions, plan_mixed
from regatta.planning.search import Limits, NothingFits, search, site
from regatta.planning.shapes import BadField, from_columns
from regatta.planning.simulate import Pipeline, play


def model(**more: int):
    row = {"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn_hidden": 14336}
    row |= {"vocab": 128256, "seq_len": 4096, **more}
    return from_columns({name: str(value) for name, value in row.items()})


def cluster(**chips: int):
    return read_cluster({"chips": {name.replace("_", "-"): n for name, n in chips.items()}})


MIXES = [
    {"A800": 40, "H800": 64},
    {"A100_80GB": 24, "Ascend_910B": 32},
    {"Kunlun_P800": 16, "H20_96GB": 24},
    {"A800": 24, "H800": 16, "Ascend_910B": 16},
]


@pytest.fixture(scope="module", params=MIXES, ids=lambda chips: "+".join(chips))
def found(request):
    return plan_mixed(model(), cluster(**request.param), 512)


def test_shares_and_micro_batches_sum_to_the_batch(found):
    assert sum(block.sequences for block in found.blocks) == 512
    for block in found.blocks:
        whole = sum(block.micro_batches) * block.option.micro_batch
        assert whole + block.tail.sequences == block.sequences
        assert max(block.micro_batches) - min(block.micro_batches) <= 1


def test_layers_sum_to_the_model_and_every_chip_is_used(found):
    for block in found.blocks:
        assert sum(n for stages in block.option.stages for n in stages.layers) == 32
        for stages in block.option.stages:
            used = len(stages.layers) * stages.plan.tp * stages.plan.cp * stages.plan.dp
            assert used == stages.at.count


def test_closed_form_and_simulator_agree_within_two_percent(found):
    assert found.simulated_s == pytest.approx(found.iteration_s, rel=0.02)
    for block in found.blocks:
        assert block.simulated_s == pytest.approx(block.seconds, rel=0.02)


def test_each_block_can_be_drawn(found):
    for block in found.blocks:
        drawn = block_schedule(model(), block, most=500)
        assert len(drawn.stages) == sum(len(stages.layers) for stages in block.option.stages)
        assert sum(len(stage) for stage in drawn.stages) <= 500 + len(drawn.stages)
        assert drawn.seconds <= block.simulated_s


def test_losses_sum_to_what_is_missing(found):
    assert sum(found.losses.values()) == pytest.approx(1 - found.efficiency)
    ideal_s = 512 / sum(found.alone.values())
    assert found.efficiency == pytest.approx(ideal_s / found.iteration_s)


def test_tensor_groups_stay_in_one_node(found):
    for block in found.blocks:
        for stages in block.option.stages:
            assert (
                len(block.option.stages) == 1 or stages.plan.tp <= stages.at.machine.domain_chips
            )


def test_one_kind_alone_is_fully_efficient_and_no_slower_than_the_search():
    here = cluster(H800=16)
    found = plan_mixed(model(), here, 64)
    assert found.efficiency == pytest.approx(1)
    limits = Limits(fix={"micro_batch": [1, 2, 4, 8]})
    best = search(model(), site(here), 64, limits=limits, top=1).plans[0]
    assert found.iteration_s <= best.iteration_s * (1 + 1e-5)


@pytest.mark.parametrize("batch", [63, 101])
def test_a_batch_that_does_not_divide_is_done_whole(batch):
    found = plan_mixed(model(), cluster(H800=16, A800=16), batch)
    assert sum(block.sequences for block in found.blocks) == batch


@pytest.fixture(scope="module")
def ways():
    """Options of chips alone, with pipelines and without: the model fits no chip by itself."""
    big = model(layers=80, hidden=8192, heads=64, ffn_hidden=28672)
    return [
        (shape, of_one_kind(shape, site(cluster(**chips)), Limits()))
        for shape, chips in [(model(), {"H800": 48}), (big, {"A800": 64}), (big, {"H800": 96})]
    ]


@settings(max_examples=30, deadline=None)
@given(which=st.integers(0, 2), seconds=st.floats(2, 60))
def test_a_share_with_its_tail_takes_the_time_it_was_given_in_both_models(ways, which, seconds):
    shape, options = ways[which]
    share = options.share(seconds)
    rounds = share.sequences // (share.option.dp * share.option.micro_batch)
    assert share.total >= options.share(0.99 * seconds).total
    assert block_s(shape, share.option, rounds, share.tail) <= seconds * (1 + 1e-6)
    played = play(pipeline(shape, share.option, rounds, share.tail)).seconds
    simulated = after_pipeline_s(share.option, played)
    if share.total:
        assert simulated == pytest.approx(
            block_s(shape, share.option, rounds, share.tail), rel=0.02
        )


def test_tails_fill_what_whole_micro_batches_leave(ways):
    shares = [options.share(s) for _, options in ways for s in np.linspace(3, 40, 60)]
    tailed = [share for share in shares if share.tail.rounds]
    assert {share.tail.ranks for share in tailed} >= {2, 4}
    assert {share.option.stages[0].plan.pp > 1 for share in tailed} == {True, False}
    for share in tailed:
        tail, option = share.tail, share.option
        assert tail.sequences * tail.ranks == tail.rounds * option.dp
        assert tail.rounds % option.multiple == 0
        assert tail.sequences < option.multiple * option.dp * option.micro_batch


def test_a_kind_alone_may_have_uneven_layers_too_in_what_is_compared():
    """Else pipelines that balance the head would flatter the mix."""
    shape, at = model(layers=80, hidden=8192, heads=64, ffn_hidden=28672), cluster(H800=512)
    even = search(shape, site(at), 4096, top=1).plans[0].iteration_s
    assert 4096 / plan_mixed(shape, at, 4096).alone["H800-80GB"] < 0.97 * even


def test_unlike_chips_beat_a_split_that_treats_them_alike():
    found = plan_mixed(model(), cluster(A800=40, H800=64), 512)
    assert found.iteration_s < 0.8 * found.uniform_s


def test_a_model_that_fits_no_kind_alone_is_put_over_both():
    big = model(layers=80, hidden=8192, heads=64, ffn_hidden=28672)
    found = plan_mixed(big, cluster(A800=16, H800=16), 64)
    assert [len(block.option.stages) for block in found.blocks] == [2]
    assert found.efficiency is None


@pytest.mark.parametrize(
    "fix", [{"pp": [1]}, {"zero_stage": [0]}, {"micro_batch": [2]}, {"cp": [1], "recompute": [2]}]
)
def test_what_is_fixed_holds_in_every_block(fix):
    found = plan_mixed(model(), cluster(H800=8, H20_96GB=12), 60, Limits(fix=fix))
    for block in found.blocks:
        for stages in block.option.stages:
            plan = replace(stages.plan, pp=float(len(stages.layers)))
            assert all(getattr(plan, name) in values for name, values in fix.items())
        assert block.tail.ranks == 1 or "cp" not in fix


def test_fixed_values_that_no_kind_can_have_are_refused():
    with pytest.raises(BadField, match="recompute: no plan of 16 chips has these values"):
        plan_mixed(model(), cluster(A800=16, H800=16), 64, Limits(fix={"recompute": [9]}))


def test_what_fits_nowhere_is_refused_with_the_nearest_miss():
    huge = model(layers=96, hidden=12288, heads=96, kv_heads=96, ffn_hidden=49152)
    with pytest.raises(NothingFits, match="nothing fits 4 x A800-80GB; nearest is"):
        plan_mixed(huge, cluster(A800=4, H800=4), 64)
    with pytest.raises(BadField, match="unknown; one of"):
        plan_mixed(model(), cluster(A800=8), 64, Limits(fix={"nodes": [1]}))


@pytest.mark.parametrize(("count", "bell"), [(1, 1), (2, 2), (3, 5), (4, 15)])
def test_kinds_are_divided_in_every_way(count, bell):
    """Bell numbers count them."""
    found = {frozenset(frozenset(group) for group in way) for way in partitions(count)}
    assert len(found) == bell


@settings(max_examples=100, deadline=None)
@given(
    each=st.lists(st.floats(0.1, 5), min_size=2, max_size=3),
    total=st.integers(3, 12),
    head=st.floats(0, 5),
)
def test_layers_are_shared_as_well_as_can_be(each, total, head):
    extra = np.zeros(len(each))
    extra[-1] = head
    given_ = shared(total, np.array(each), extra)
    ways = (way for way in product(range(total + 1), repeat=len(each)) if sum(way) == total)
    best = min(max(n * e + x for n, e, x in zip(way, each, extra, strict=True)) for way in ways)
    assert given_.sum() == total
    assert max(given_ * np.array(each) + extra) == pytest.approx(best)


@settings(max_examples=100, deadline=None)
@given(
    speeds=st.lists(st.floats(0.8, 1.25), min_size=1, max_size=12),
    rounds=st.floats(1, 12),
    send=st.floats(0, 0.1),
)
def test_closed_form_and_simulator_agree_on_stages_of_any_speed(speeds, rounds, send):
    pp = len(speeds)
    of = Pipeline(
        forward_s=speeds,
        backward_s=[2 * f for f in speeds],
        send_s=[send] * pp,
        reduce_s=[0.3] * pp,
        micro_batches=int(pp * rounds),
    )
    assert pipeline_s(of) == pytest.approx(play(of).seconds, rel=0.02)


@settings(max_examples=6, deadline=None)
@given(network=st.floats(5, 50), factor=st.floats(1, 8))
def test_more_bandwidth_never_makes_a_mixed_plan_slower(network, factor):
    chips = {"A800": 8, "H800": 8}
    slow, fast = (
        plan_mixed(model(), read_cluster({"chips": chips, "network_GBps_per_chip": n}), 32)
        for n in (network, network * factor)
    )
    assert fast.iteration_s <= slow.iteration_s * (1 + 1e-4)
