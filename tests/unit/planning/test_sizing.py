"""Sizing a training: the front is a front, costs add up, and refusals say what would do."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regatta.costs.tco import Ownership, tco
from regatta.hardware.catalogue import find
from regatta.planning.hf import MODELS as CONFIGS
from regatta.planning.hf import from_hf_config
from regatta.planning.shapes import BadField
from regatta.planning.sizing import (
    NoPlan,
    Offer,
    Training,
    chosen,
    counts,
    left_over,
    pareto,
    searched,
    size_training,
    usual_batch,
)

OWN = Ownership(chip_usd=30_000, chip_w=700)


def shape(name="llama-3-8b"):
    return from_hf_config(json.loads((CONFIGS / f"{name}.json").read_text()), seq_len=4096)


def training(**changes):
    return Training(**{"shape": shape(), "tokens": 1e11, "global_batch": 512} | changes)


def rent(name, usd=2.0, **more):
    return Offer(chip=find(name), usd_per_hour=usd, max_chips=more.pop("max_chips", 256), **more)


SIZED = size_training(training(), [rent("H100", 2.95), rent("A100", 1.7), rent("MI300X", 3.0)])


def test_no_option_of_the_front_is_beaten_on_both_cost_and_date():
    for option in SIZED.front:
        better = [
            other
            for other in SIZED.options
            if other.cost_usd < option.cost_usd and other.days < option.days
        ]
        assert not better


def test_every_option_off_the_front_is_beaten_by_one_on_it():
    for option in SIZED.options:
        assert any(
            near.cost_usd <= option.cost_usd and near.days <= option.days for near in SIZED.front
        )


def test_cheapest_fastest_and_balanced_stand_on_the_front():
    assert SIZED.cheapest.cost_usd == min(option.cost_usd for option in SIZED.options)
    assert SIZED.fastest.days == min(option.days for option in SIZED.options)
    product = SIZED.balanced.cost_usd * SIZED.balanced.days
    assert product == min(option.cost_usd * option.days for option in SIZED.options)
    assert all(o in SIZED.front for o in (SIZED.cheapest, SIZED.fastest, SIZED.balanced))


@pytest.mark.parametrize("option", SIZED.front, ids=lambda option: f"{option.count}x{option.chip}")
def test_cost_date_and_interruptions_follow_from_the_step(option):
    steps = 1e11 / (512 * 4096)
    seconds = steps * option.best.iteration_s / option.goodput.share
    assert option.days == pytest.approx(seconds / 86_400)
    assert option.cost_usd == pytest.approx(
        option.count * option.usd_per_chip_hour * seconds / 3600
    )
    failures = option.count * seconds / 3600 / find(option.chip).mtbf_h
    assert option.interruptions == pytest.approx(failures)
    assert 0.5 < option.goodput.share < 1


def test_tokens_per_dollar_are_those_of_the_worked_numbers():
    """8 B on H100 at $2.50 and 9,500 tok/s a chip is $0.0731 per million tokens."""
    (option,) = size_training(training(), [rent("H100", 2.5, counts=(64,))]).options
    per_million = option.cost_usd / (1e11 / 1e6)
    expected = 0.0731 * 9_500 / (option.tokens_per_s / 64) / option.goodput.share
    assert per_million == pytest.approx(expected, rel=0.001)


@pytest.mark.parametrize("model", ["llama-3.1-70b", "mixtral-8x7b"])
def test_a_count_that_is_skipped_would_not_have_fitted(model):
    asked, each = training(shape=shape(model)), (4, 8, 12, 16, 24, 32, 64)
    found = searched(asked, rent("A100-80GB", counts=each))
    apart = [searched(asked, rent("A100-80GB", counts=(count,))).best for count in each]
    assert sorted(found.best, key=lambda one: one[0]) == [one for best in apart for one in best]


def test_a_search_serves_every_price_and_limit():
    offers = [rent("H100-80GB", counts=(8, 16))]
    found = [searched(training(), offer) for offer in offers]
    for usd in (1.0, 9.0):
        dear = [replace(offer, usd_per_hour=usd) for offer in offers]
        assert chosen(training(), dear, found) == size_training(training(), dear)


def test_owned_chips_stand_beside_rented_ones_at_their_total_cost():
    offer = Offer(chip=find("H100"), usd_per_hour=2.95, own=OWN, counts=(64,))
    rented, owned = size_training(training(), [offer]).options
    assert (rented.basis, owned.basis) == ("rent", "own")
    assert owned.usd_per_chip_hour == tco(64, OWN).usd_per_chip_hour
    assert owned.capex_usd == 64 * 30_000 * 1.4
    assert owned.days == rented.days


def test_chips_without_a_price_are_told_and_left_out():
    sized = size_training(training(), [rent("H100"), Offer(chip=find("Kunlun-P800"))])
    assert sized.unpriced == ("Kunlun-P800",)
    assert {option.chip for option in sized.options} == {"H100-80GB"}
    with pytest.raises(NoPlan, match=r"^price: none is known for Kunlun-P800; give one per chip"):
        size_training(training(), [Offer(chip=find("Kunlun-P800"))])


def test_deadline_and_budget_hold_for_every_option():
    limit = SIZED.balanced
    request = training(deadline_days=limit.days, budget_usd=limit.cost_usd)
    sized = size_training(request, [rent("H100", 2.95), rent("A100", 1.7), rent("MI300X", 3.0)])
    assert all(o.days <= limit.days and o.cost_usd <= limit.cost_usd for o in sized.options)
    assert limit in sized.front


def test_what_cannot_be_in_time_tells_the_nearest_miss_and_what_would_do():
    with pytest.raises(NoPlan) as refusal:
        size_training(training(deadline_days=0.5, budget_usd=1_000), [rent("A100", max_chips=64)])
    text = str(refusal.value)
    assert "nearest is" in text
    assert "Raise deadline_days from 0.5 to" in text
    assert "budget_usd from 1,000 to" in text


def test_raising_the_limits_as_told_makes_it_fit():
    offers = [rent("H100", 2.95, counts=(64,))]
    with pytest.raises(NoPlan, match=r"Raise deadline_days from 0.1 to"):
        size_training(training(deadline_days=0.1), offers)
    needed = size_training(training(), offers).fastest.days
    assert size_training(training(deadline_days=needed), offers).options


@pytest.mark.parametrize("tokens", [1e9, 1.7e10, 2.3e11, 3.1e12])
def test_limits_raised_to_what_the_message_says_are_met(tokens):
    offers = [rent("H100", 2.95, counts=(64,))]
    with pytest.raises(NoPlan) as refusal:
        size_training(training(tokens=tokens, deadline_days=1e-4, budget_usd=1e-4), offers)
    said = re.search(r"days from \S+ to (\S+) and \S+ from \S+ to (\S+), or", str(refusal.value))
    days, usd = (float(number.replace(",", "")) for number in said.groups())
    enough = training(tokens=tokens, deadline_days=days, budget_usd=usd)
    assert size_training(enough, offers).fastest.days <= days


def test_a_model_that_fits_nowhere_tells_how_much_it_needs_and_what_would_do():
    request = training(shape=shape("llama-2-70b"))
    with pytest.raises(NoPlan) as refusal:
        size_training(request, [rent("RTX-3090", max_chips=8)])
    said = r"no plan fits. memory: nothing fits 8 x RTX-3090; .*; (\d+) chips, or chips with .*"
    count = int(re.fullmatch(said, str(refusal.value))[1])
    assert size_training(request, [rent("RTX-3090", counts=(count,))]).options
    with pytest.raises(NoPlan):
        size_training(request, [rent("RTX-3090", counts=(count // 2,))])


def test_a_chip_that_cannot_compute_in_the_format_is_told_with_the_one_it_can():
    with pytest.raises(NoPlan, match=r"V100-32GB has no bf16 peak, it has fp16, fp32; use fp16"):
        size_training(training(), [rent("V100")])
    assert size_training(training(dtype="fp16"), [rent("V100")]).options


def test_slow_storage_and_slow_recovery_cost_goodput():
    share = SIZED.fastest.goodput.share
    for worse in ({"storage_Bps": 1e8}, {"recovery_s": 36_000.0}):
        (option,) = size_training(
            training(**worse), [rent(SIZED.fastest.chip, counts=(SIZED.fastest.count,))]
        ).options
        assert option.goodput.share < share


def test_large_clusters_keep_what_llama_3_kept():
    """Grattafiori 2024: more than 90 % of the time on 16,384 H100, 405B; storage grows along."""
    for name in ("deepseek-v3", "llama-3.1-70b"):
        kept = left_over(training(shape=shape(name)), find("H100"), 16_384)
        assert 0.9 < kept.share < 0.95
        assert kept.save_s < 5
    slow = left_over(training(shape=shape(), storage_Bps=1e9), find("H100"), 16)
    assert slow.save_s == 2 * left_over(training(shape=shape()), find("H100"), 16).save_s


def test_clusters_that_never_recover_are_no_option():
    with pytest.raises(NoPlan, match="goodput: 256 H100-80GB fail faster than they recover"):
        size_training(training(recovery_s=1e9), [rent("H100", counts=(256,))])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": 0}, "tokens: 0 is out of range; a number above 0"),
        ({"tokens": float("nan")}, "tokens: nan is out of range"),
        ({"global_batch": -1}, "global_batch: -1 is out of range"),
        ({"budget_usd": -5.0}, "budget_usd: -5 is out of range"),
        ({"deadline_days": 0.0}, "deadline_days: 0 is out of range"),
        ({"storage_Bps": 0.0}, "storage_Bps: 0 is out of range"),
        ({"dtype": "int3"}, "dtype: 'int3' is none of fp32, fp16, bf16"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_field(changes, message):
    with pytest.raises(BadField, match=message):
        training(**changes)


def test_offers_that_make_no_sense_are_refused_by_field():
    with pytest.raises(BadField, match="chips: name at least one"):
        size_training(training(), [])
    with pytest.raises(BadField, match="max_chips: 0 of H100-80GB; at least 1"):
        size_training(training(), [rent("H100", max_chips=0)])
    with pytest.raises(BadField, match="price: -2 is out of range"):
        size_training(training(), [rent("H100", -2.0)])


@given(most=st.integers(1, 5_000))
def test_counts_rise_by_doubling_from_a_node_to_the_most(most):
    found = list(counts(rent("H100", max_chips=most)))
    assert found == sorted(set(found))
    assert found[-1] == most
    assert found[0] == min(8, most)


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(1, 1e6)), min_size=1, max_size=30))
def test_a_front_falls_in_cost_as_it_rises_in_days(points):
    options = [replace(SIZED.fastest, days=days, cost_usd=usd) for days, usd in points]
    front = pareto(options, time=lambda o: o.days, cost=lambda o: o.cost_usd)
    assert [o.days for o in front] == sorted({o.days for o in front})
    assert [o.cost_usd for o in front] == sorted({o.cost_usd for o in front}, reverse=True)
    assert min(usd for _, usd in points) == front[-1].cost_usd
    assert min(days for days, _ in points) == front[0].days
    worth = pareto(options, time=lambda o: o.days, cost=lambda o: o.cost_usd, gain=0.1)
    assert all(a.days < 0.9 * b.days for a, b in pairwise(worth))


def test_adapters_alone_need_less_memory_and_no_more_time():
    offers = [rent("H100", counts=(8,))]
    (whole,) = size_training(training(), offers).options
    (adapters,) = size_training(training(frozen=True), offers).options
    assert adapters.best.plan.frozen == 1
    assert adapters.days < whole.days
    assert adapters.goodput.save_s < whole.goodput.save_s


def test_counts_over_which_the_batch_does_not_divide_are_passed_over_or_told():
    sized = size_training(training(global_batch=4), [rent("H100", counts=(8, 521))])
    assert {option.count for option in sized.options} == {8}
    with pytest.raises(NoPlan, match=r"global_batch: 4 divides in no way over 521 chips"):
        size_training(training(global_batch=4), [rent("H100", counts=(521,))])


@pytest.mark.parametrize("seq_len", [1024.0, 4096.0, 8192.0, 131072.0])
def test_a_step_has_about_four_million_tokens_where_nobody_says(seq_len):
    assert usual_batch(replace(shape(), seq_len=seq_len), fine_tuning=False) * seq_len == 2**22


def test_of_several_chips_that_miss_the_nearest_is_told():
    offers = [rent(name, max_chips=8) for name in ("T4", "A100", "L4")]
    with pytest.raises(NoPlan, match=r"nothing fits 8 x A100-80GB.*\(2 other chips miss by more"):
        size_training(training(shape=shape("llama-2-70b"), dtype="fp16"), offers)
