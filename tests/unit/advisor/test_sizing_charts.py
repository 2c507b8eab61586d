"""What sizing and mixed plans look like: pure, from the engine's own answers."""

from __future__ import annotations

import pytest

from apps.advisor import catalogue_charts, mixed_charts, search_work, sizing_charts, sizing_texts
from regatta.costs.tco import Ownership
from regatta.hardware.catalogue import catalogue
from regatta.hardware.clusters import read_cluster
from regatta.planning.fleets import Load, size_serving
from regatta.planning.hf import known_models, read_model
from regatta.planning.sizing import NoPlan, Offer, Training, size_training

SMALL = read_model(known_models()["gpt2"], seq_len=1024)


def offers(**more):
    return [
        Offer(chip=catalogue()[name], usd_per_hour=usd, counts=(8, 16), **more)
        for name, usd in (("H100-80GB", 3.0), ("A100-80GB", 1.5))
    ]


def training(**limits):
    return Training(shape=SMALL, tokens=1e10, global_batch=64, **limits)


def named(figure, name):
    return next(trace for trace in figure["data"] if trace["name"] == name)


def test_every_option_is_drawn_once_and_the_front_in_its_order():
    sized = size_training(training(), offers())
    figure = sizing_charts.front(training(), sized).figure
    front = named(figure, "the front")
    assert front["x"] == [one.days for one in sized.front]
    assert front["y"] == [one.cost_usd for one in sized.front]
    clouds = [x for t in figure["data"] if t["name"] in catalogue() for x in t["x"]]
    assert sorted(clouds + front["x"]) == sorted(one.days for one in sized.options)


def test_limits_are_lines_and_what_is_owned_has_its_own_mark():
    own = Ownership(chip_usd=30_000, chip_w=700)
    asked = training(deadline_days=90.0, budget_usd=1e6)
    sized = size_training(asked, offers(own=own))
    figure = sizing_charts.front(asked, sized).figure
    assert named(figure, "deadline")["x"] == [90.0, 90.0]
    assert named(figure, "budget")["y"] == [1e6, 1e6]
    symbols = {s for t in figure["data"] for s in t.get("marker", {}).get("symbol", ()) if s}
    assert {"diamond", "circle"} & symbols


def test_fleets_are_drawn_by_the_time_of_a_request():
    load = Load(shape=SMALL, requests_per_s=5.0, prompt_tokens=500.0, output_tokens=100.0)
    sized = size_serving(load, offers())
    front = named(sizing_charts.front(load, sized).figure, "the front")
    assert front["x"] == [one.request_s for one in sized.front]
    assert front["text"][0] == sizing_texts.ways(sized.fastest)


def test_a_miss_says_which_limits_would_have_to_be_what():
    with pytest.raises(NoPlan) as caught:
        size_training(training(deadline_days=1e-6, budget_usd=1e-3), offers())
    told = sizing_texts.no_plan(caught.value)
    assert "a deadline of" in told
    assert "a budget of" in told
    with pytest.raises(NoPlan) as caught:
        size_training(training(), [Offer(chip=catalogue()["T4"], usd_per_hour=1.0)])
    assert sizing_texts.no_plan(caught.value) == ""


def test_an_axis_of_powers_has_ticks_that_people_read():
    assert catalogue_charts.log_axis("s", [3.0, 400.0])["tickvals"][:4] == [1.0, 2.0, 5.0, 10.0]
    assert len(catalogue_charts.log_axis("s", [3.0, 8.0])["tickvals"]) == 10


def test_every_chip_that_computes_in_16_bits_is_in_the_picture():
    chart = catalogue_charts.landscape(list(catalogue().values()))
    assert chart is not None
    drawn = sum(len(trace["x"]) for trace in chart.figure["data"])
    assert drawn == sum(1 for c in catalogue().values() if {"bf16", "fp16"} & set(c.peak_flops))
    assert catalogue_charts.landscape([]) is None


@pytest.fixture(scope="module")
def answer():
    cluster = read_cluster({"chips": {"A100-80GB": 16, "H100-80GB": 16}})
    shape = read_model(known_models()["llama-3-8b"], seq_len=2048)
    return search_work.done(search_work.mixed(shape, cluster, global_batch=64, dtype="bf16"))


def test_the_waterfall_ends_at_the_efficiency(answer):
    chart = mixed_charts.losses(answer)
    assert chart is not None
    whole = named(chart.figure, "efficiency")
    assert whole["x"] == [100.0, 100 * answer["efficiency"]]
    level = 100.0
    for name, sign in (("lost", -1), ("gained", 1)):
        for trace in chart.figure["data"]:
            level += sign * sum(trace["x"]) if trace["name"] == name else 0.0
    assert level == pytest.approx(
        100 * answer["efficiency"], abs=0.02
    )  # parts of 0.005 % are left out
    assert mixed_charts.losses(answer | {"efficiency": None}) is None


def test_blocks_share_the_batch_and_hold_every_layer(answer):
    blocks = mixed_charts.blocks(answer, global_batch=64)
    assert sum(block.share for block in blocks) == pytest.approx(1)
    for block in blocks:
        pieces = [piece for lane in block.lanes for piece in lane.pieces]
        assert sum(piece.layers for piece in pieces) == 32
        assert pieces[-1].x + pieces[-1].width == pytest.approx(mixed_charts.BAR, abs=0.1)


def test_a_schedule_is_drawn_where_there_are_stages(answer):
    drawn = mixed_charts.timelines(answer)
    staged = [one for one in answer["schedules"] if len(one["stages"]) > 1]
    assert len(drawn) == len(staged)


def test_what_cannot_be_planned_is_told_with_its_field():
    cluster = read_cluster({"chips": {"RTX-3090": 2, "RTX-4090": 2}})
    shape = read_model(known_models()["llama-3.1-70b"], seq_len=4096)
    told = search_work.done(search_work.mixed(shape, cluster, global_batch=8, dtype="bf16"))
    assert "nothing fits" in told["wrong"]
