"""The document of a plan: what is written is read, and what is impossible is refused by name."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from math import inf
from pathlib import Path

import pytest

from regatta.hardware.catalogue import UnknownChip
from regatta.hardware.clusters import BadCluster, read_cluster
from regatta.planning import document, plans
from regatta.planning.hf import known_models, read_model
from regatta.planning.plans import Plan
from regatta.planning.search import NothingFits, predict, search, site
from regatta.planning.shapes import BadField, Shape

SHAPE = read_model(known_models()["llama-3-8b"], seq_len=8192)
CLUSTER = read_cluster({"chips": {"H100": 8}, "network_GBps_per_chip": 25})


def planned(**changes):
    plan = search(SHAPE, site(CLUSTER), 64, top=1).plans[0].plan
    said = document.Planned(
        name="llama-3-8b", shape=SHAPE, cluster=CLUSTER, plan=plan, tokens=1e12
    )
    return replace(said, **changes)


def test_what_is_written_is_read():
    said = document.write(planned())
    assert document.read(json.loads(json.dumps(said))) == planned()
    assert said["plan"]["global_batch"] == 64
    assert "window" not in said["model"], "what stands at its default is left out"


@pytest.mark.parametrize("name", known_models())
def test_every_ranked_plan_survives_being_written_and_read(name):
    """Interleaved ones among them, whose embedding and head stand for layers."""
    shape = read_model(known_models()[name], seq_len=4096)
    for count in (48, 256):
        cluster = read_cluster({"chips": {"H100": count}})
        try:
            ranked = search(shape, site(cluster), 2 * count, top=10).plans
        except NothingFits:
            continue
        for plan in (item.plan for item in ranked):
            said = document.Planned(name=name, shape=shape, cluster=cluster, plan=plan)
            assert document.read(json.loads(json.dumps(document.write(said)))) == said


def test_words_stand_for_codes():
    plan = replace(planned().plan, recompute=plans.FULL, dtype=plans.FP8)
    said = document.write(planned(plan=plan))
    assert (said["plan"]["recompute"], said["plan"]["dtype"]) == ("full", "fp8")
    assert document.read(said).plan == plan


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"chips": 16}, BadField, "chips: 16; the plan uses 8"),
        ({"chip": "H1000"}, UnknownChip, "has no 'H1000'"),
        ({"chips": 0}, BadCluster, "whole count"),
        ({"colour": 1}, BadField, "colour: unknown"),
        ({"model": {}}, BadField, "layers: is missing"),
        ({"model": 7}, BadField, "shape: an object"),
        ({"tokens": 1e300}, BadField, "tokens: 1e[+]300 is out of range"),
        ({"tokens": float("nan")}, BadField, "tokens: nan is out of range"),
        ({"tokens": True}, BadField, "tokens: True is no number"),
    ],
)
def test_what_is_impossible_is_refused_by_name(changes, error, words):
    with pytest.raises(error, match=words):
        document.read({**document.write(planned()), **changes})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("tp", 3, "tp: 3 does not divide heads"),
        ("recompute", "some", "recompute: 'some' is none of none, selective, full"),
        ("global_batch", 1, "global_batch"),
        ("tp", 0, "tp: 0 is out of range"),
        ("etp", 0, "etp: 0 is out of range; 1 to"),
        ("zero_stage", 9, "zero_stage: 9 is out of range; 0 to 3 is right"),
        ("sequence_parallel", 2, "sequence_parallel: 2 is out of range; 0 to 1 is right"),
        ("frozen", 2, "frozen: 2 is out of range"),
        ("grad_bytes", 0, "grad_bytes: 0 is out of range; 2 to 4 is right"),
        ("dp", 1.5, "dp: 1.5 is no whole number"),
        ("micro_batch", 10**400, "micro_batch: 1000000000.{30} is out of range"),
        ("speed", 1, "speed: unknown"),
    ],
)
def test_an_impossible_plan_is_refused_by_name(field, value, words):
    said = document.write(planned())
    with pytest.raises(BadField, match=words):
        document.read({**said, "plan": {**said["plan"], field: value}})


@pytest.mark.parametrize("name", ["llama-3-8b", "deepseek-v2-lite"])
@pytest.mark.parametrize("value", [0, 1, 1.5, -1, 10**400, 1e15, float("nan"), True, "x", None])
def test_whatever_a_document_says_is_refused_by_name_or_predicted(name, value):
    shape = read_model(known_models()[name], seq_len=8192)
    plan = search(shape, site(CLUSTER), 64, top=1).plans[0].plan
    said = document.write(replace(planned(plan=plan), shape=shape))
    for part, kind in (("model", Shape), ("plan", Plan)):
        for field in fields(kind):
            try:
                read = document.read({**said, part: {**said[part], field.name: value}})
            except BadField:
                continue
            found = predict(read.shape, site(read.cluster), read.plan)
            assert 0 < found.iteration_s < inf
            assert 0 < found.peak_bytes < inf


def test_no_object_is_refused():
    with pytest.raises(BadField, match="a JSON object is right"):
        document.read([1])


def test_the_documented_document_is_one():
    page = (Path(__file__).parents[3] / "docs/reference/plan-document.md").read_text()
    said = document.read(json.loads(page.split("```json document\n")[1].split("```")[0]))
    assert said.shape == replace(SHAPE, seq_len=8192.0)
    assert document.write(said)["plan"]["recompute"] == "selective"
