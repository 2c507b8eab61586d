"""The compact space of plans: whole, valid, and its best fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regatta.hardware.catalogue import NoPeak, find
from regatta.planning import plans
from regatta.planning.candidates import best_plan
from regatta.planning.hf import from_hf_config
from regatta.planning.shapes import BadField

CONFIGS = Path(__file__).parents[2] / "data" / "hf"


def shape(name, seq_len=4096):
    return from_hf_config(json.loads((CONFIGS / f"{name}.json").read_text()), seq_len=seq_len)


@settings(deadline=None, max_examples=25)
@given(
    model=st.sampled_from(["llama-3-8b", "llama-2-70b", "mixtral-8x7b", "qwen3-30b-a3b"]),
    chip=st.sampled_from(["H100-80GB", "A100-80GB", "Ascend-910B", "MI300X"]),
    count=st.sampled_from([8, 16, 24, 64, 96, 512]),
    sequences=st.sampled_from([96, 192, 768]),
)
def test_the_best_plan_is_valid_and_its_parts_sum_to_its_time(model, chip, count, sequences):
    found = best_plan(shape(model), find(chip), count, sequences, dtype="bf16")
    assert plans.chips(found.plan) == count
    plans.check(found.plan, shape(model))
    assert sum(found.breakdown.values()) == pytest.approx(found.iteration_s)
    assert 0 < found.mfu < 1
    assert min(found.breakdown.values()) >= 0


def test_a_model_too_large_gives_the_plan_that_needs_the_least_memory():
    found = best_plan(shape("deepseek-v3"), find("H100"), 8, 64, dtype="bf16")
    assert not found.fits
    assert found.peak_bytes > find("H100").memory_bytes
    assert best_plan(shape("llama-3-8b"), find("H100"), 8, 64, dtype="bf16").fits


def test_long_sequences_are_split_over_chips():
    found = best_plan(shape("llama-3-8b", seq_len=131_072), find("H100"), 64, 8, dtype="bf16")
    assert found.plan.cp > 1
    assert found.fits


def test_a_batch_that_no_split_divides_is_refused():
    with pytest.raises(
        BadField, match=r"^global_batch: 7 divides in no way over 24 H100-80GB; a multiple of 3"
    ):
        best_plan(shape("llama-3-8b"), find("H100"), 24, 7, dtype="bf16")


def test_a_format_the_chip_lacks_is_refused():
    with pytest.raises(NoPeak, match="no bf16 peak, it has fp16, fp32; use fp16"):
        best_plan(shape("llama-3-8b"), find("V100"), 32, 64, dtype="bf16")
    with pytest.raises(NoPeak, match="A100-80GB has no fp8 peak"):
        best_plan(shape("llama-3-8b"), find("A100"), 32, 64, dtype="mxfp8")
    assert best_plan(shape("llama-3-8b"), find("V100"), 32, 64, dtype="fp16").fits
