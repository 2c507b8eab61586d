"""Sizing a served model: targets are met, costs add up, and refusals say what would do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regatta.costs.tco import Ownership, tco
from regatta.hardware.catalogue import find
from regatta.planning.fleets import Load, size_serving
from regatta.planning.hf import MODELS as CONFIGS
from regatta.planning.hf import from_hf_config
from regatta.planning.shapes import BadField
from regatta.planning.sizing import NoPlan, Offer


def shape(name="llama-3.1-70b"):
    return from_hf_config(json.loads((CONFIGS / f"{name}.json").read_text()), seq_len=4096)


def load(**changes):
    sound = {"requests_per_s": 5.0, "prompt_tokens": 1_000.0, "output_tokens": 500.0}
    return Load(**{"shape": shape(), **sound, **changes})


def rent(name, usd=2.0, max_chips=512):
    return Offer(chip=find(name), usd_per_hour=usd, max_chips=max_chips)


OFFERS = [rent("H100", 2.95), rent("A100", 1.7), rent("B200", 6.0)]
SIZED = size_serving(load(ttft_s=1.0, itl_s=0.05), OFFERS)


def test_every_option_meets_the_targets_with_capacity_to_spare():
    for fleet in SIZED.options:
        assert fleet.ttft_s <= 1.0
        assert fleet.itl_s <= 0.05
        assert fleet.busy <= 0.8 + 1e-9


def test_no_fleet_of_the_front_is_beaten_on_both_cost_and_time():
    for fleet in SIZED.front:
        assert not [
            other
            for other in SIZED.options
            if other.usd_per_hour < fleet.usd_per_hour and other.request_s < fleet.request_s
        ]
    assert SIZED.cheapest.usd_per_hour == min(f.usd_per_hour for f in SIZED.options)
    quickest = min(f.request_s for f in SIZED.options)
    assert quickest <= SIZED.fastest.request_s <= quickest / 0.95
    assert SIZED.balanced in SIZED.front


def test_cost_per_million_tokens_is_the_fleets_price_over_its_tokens():
    fleet = SIZED.cheapest
    assert fleet.usd_per_hour == fleet.count * fleet.usd_per_chip_hour
    tokens_per_hour = 5 * 500 * 3600
    assert fleet.usd_per_mtok == pytest.approx(fleet.usd_per_hour / tokens_per_hour * 1e6)
    assert fleet.usd_per_mtok_full == pytest.approx(fleet.usd_per_mtok * fleet.busy)


def test_prompt_tokens_count_in_the_cost_as_they_are_weighed():
    plain = size_serving(load(), [rent("H100")]).cheapest
    weighed = size_serving(load(input_weight=0.25), [rent("H100")]).cheapest
    assert weighed.usd_per_mtok == pytest.approx(plain.usd_per_mtok * 500 / (500 + 0.25 * 1_000))


def test_a_tighter_pace_takes_more_chips_or_money():
    slow = size_serving(load(itl_s=0.1), OFFERS).cheapest
    fast = size_serving(load(itl_s=0.02), OFFERS).cheapest
    assert fast.usd_per_hour > slow.usd_per_hour
    assert fast.batch < slow.batch or fast.tp > slow.tp


@settings(deadline=None, max_examples=20)
@given(rate=st.floats(0.1, 50), more=st.floats(1.0, 5.0))
def test_a_larger_load_never_costs_less(rate, more):
    offers = [rent("H100", max_chips=100_000)]
    small, large = (
        size_serving(load(requests_per_s=r), offers).cheapest for r in (rate, rate * more)
    )
    assert large.usd_per_hour >= small.usd_per_hour


def test_latent_attention_is_served_apart_from_the_experts():
    """DeepSeek-V3 in fp8 needs more than one node of H100 (671 GB), or one of H200."""
    sized = size_serving(
        load(shape=shape("deepseek-v3"), quantizations=("fp8",)), [rent("H100"), rent("H200")]
    )
    assert sized.cheapest.attention_dp
    assert all(f.tp >= 16 for f in sized.options if f.chip == "H100-80GB")
    assert any(f.tp == 8 for f in sized.options if f.chip == "H200-141GB")


def test_a_chip_without_bf16_serves_in_fp16_and_without_fp8_not_in_fp8():
    sized = size_serving(load(shape=shape("llama-3-8b")), [rent("V100"), rent("A100")])
    assert {(f.chip, f.quantization) for f in sized.options} == {
        ("V100-32GB", "fp16"),
        ("A100-80GB", "bf16"),
    }
    four = size_serving(load(quantizations=("w4a16",)), [rent("V100")])
    assert four.cheapest.tp < size_serving(load(), [rent("V100")]).cheapest.tp


def test_owned_chips_stand_beside_rented_ones():
    own = Ownership(chip_usd=30_000, chip_w=700)
    offer = Offer(chip=find("H100"), usd_per_hour=2.95, own=own, max_chips=64)
    sized = size_serving(load(), [offer])
    owned = next(f for f in sized.options if f.basis == "own")
    assert owned.usd_per_chip_hour == tco(owned.count, own).usd_per_chip_hour
    assert owned.capex_usd == owned.count * 30_000 * 1.4
    assert {f.basis for f in sized.options} == {"rent", "own"}


def test_a_model_that_no_replica_holds_tells_how_much_it_needs():
    with pytest.raises(NoPlan, match=r"memory: \d+ of 24 GiB on each of 4 RTX-3090\. More max"):
        size_serving(load(), [rent("RTX-3090", max_chips=4)])


def test_where_the_cache_lacks_more_is_needed_than_there_is():
    long = load(shape=replace(shape(), seq_len=1e7), prompt_tokens=1e7)
    with pytest.raises(NoPlan, match=r"memory: \d+ of 80 GiB") as refusal:
        size_serving(long, [rent("H100", max_chips=32)])
    assert int(str(refusal.value).split("memory: ")[1].split()[0]) > 80


@pytest.mark.parametrize("wanted", ["ttft_s", "itl_s", "budget_usd_per_hour"])
def test_a_target_raised_to_what_the_message_says_is_met(wanted):
    with pytest.raises(NoPlan) as refusal:
        size_serving(load(**{wanted: 1e-4}), OFFERS)
    told = str(refusal.value).split(f"{wanted} from 0.0001 to ")[1].split(", or")[0]
    assert size_serving(load(**{wanted: float(told.replace(",", ""))}), OFFERS).options


def test_targets_that_cannot_be_met_tell_the_nearest_miss_and_what_would_do():
    with pytest.raises(NoPlan, match=r"nearest is .* Raise ttft_s from 0\.001 to"):
        size_serving(load(ttft_s=0.001), OFFERS)
    with pytest.raises(NoPlan, match=r"budget_usd_per_hour from 1 to"):
        size_serving(load(budget_usd_per_hour=1.0), OFFERS)


def test_chips_without_a_price_are_told():
    sized = size_serving(load(), [rent("H100"), Offer(chip=find("MLU590"))])
    assert sized.unpriced == ("MLU590",)
    with pytest.raises(NoPlan, match=r"^price: none is known for MLU590"):
        size_serving(load(), [Offer(chip=find("MLU590"))])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"requests_per_s": 0.0}, "^requests_per_s: 0 is out of range; a number above 0"),
        ({"prompt_tokens": -1.0}, "^prompt_tokens: -1 is out of range"),
        ({"output_tokens": float("inf")}, "^output_tokens: inf is out of range"),
        ({"ttft_s": 0.0}, "^ttft_s: 0 is out of range"),
        ({"itl_s": float("nan")}, "^itl_s: nan is out of range"),
        ({"budget_usd_per_hour": -3.0}, "^budget_usd_per_hour: -3 is out of range"),
        ({"busy": 1.5}, "^busy: 1.5 is out of range; a number above 0 and up to 1"),
        ({"input_weight": -0.1}, "^input_weight: -0.1; a number from 0"),
        ({"quantizations": ("int3",)}, "^quantization: 'int3' is none of bf16"),
        ({"quantizations": ()}, "^quantization: name at least one"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused_by_field(changes, message):
    with pytest.raises(BadField, match=message):
        load(**changes)


def test_offers_that_make_no_sense_are_refused_by_field():
    with pytest.raises(BadField, match=r"^chips: name at least one"):
        size_serving(load(), [])
    with pytest.raises(BadField, match=r"^max_chips: 0 of H100"):
        size_serving(load(), [rent("H100", max_chips=0)])
    with pytest.raises(BadField, match=r"^price: -1 is out of range"):
        size_serving(load(), [rent("H100", -1.0)])
