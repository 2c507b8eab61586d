"""Plans: what a row says of one, and which are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from regatta.planning import plans, shapes
from regatta.planning.shapes import BadField

ROW = {
    **{"layers": "32", "hidden": "4096", "heads": "32", "ffn_hidden": "14336", "vocab": "128256"},
    **{"seq_len": "2048", "n_gpus": "64", "tp": "4", "pp": "2", "cp": "2"},
    **{"micro_batch": "1", "global_batch": "128"},
}


def test_data_parallelism_is_what_remains():
    plan = plans.from_columns(ROW)
    assert (plan.dp, plans.chips(plan), plans.micro_batches(plan)) == (4, 64, 32)


def test_an_empty_batch_is_what_accumulation_makes_of_it():
    row = {**ROW, "global_batch": "", "grad_accum": "3", "micro_batch": "2"}
    assert plans.from_columns(row).global_batch == 3 * 2 * 4


def test_sequence_parallelism_and_reduced_gradients_are_those_the_software_defaults_to():
    recipe = plans.from_columns({**ROW, "stack": "megatron-core", "dtype": "bf16"})
    older = plans.from_columns({**ROW, "stack": "flagscale", "dtype": "fp16"})
    assert (recipe.sequence_parallel, recipe.grad_bytes) == (1, 2)
    assert (older.sequence_parallel, older.grad_bytes) == (0, 2)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", plans.BF16),
        ("FP8-MX/blockwise", plans.MXFP8),
        ("fp8(TE)+bf16", plans.FP8),
        ("NVFP4", plans.FP4),
        ("bfloat16", plans.BF16),
        ("tf32", plans.FP32),
        ("fp16 (not read)", plans.FP16),
    ],
)
def test_free_descriptions_of_a_number_format_are_read(text, code):
    assert plans.from_columns({**ROW, "dtype": text}).dtype == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("full num_layers=1", plans.FULL),
        ("selective", plans.SELECTIVE),
        ("selective modules=[layernorm]", plans.NONE),
        ("none set in recipe", plans.NONE),
    ],
)
def test_free_descriptions_of_recomputation_are_read(text, code):
    assert plans.from_columns({**ROW, "recompute": text}).recompute == code


@pytest.mark.parametrize(
    ("note", "ranks"), [("zero1 size=8 (within node)", 8), ("FSDP 8 within node", 8), ("FSDP2", 8)]
)
def test_a_note_on_sharding_limits_its_ranks(note, ranks):
    plan = plans.from_columns({**ROW, "zero_note": note, "cp": "1", "tp": "1", "pp": "8"})
    assert float(plans.shard_ranks(plan)) == ranks


@pytest.mark.parametrize(
    ("field", "value"), [("n_gpus", "60"), ("dp", "3"), ("dtype", "int8"), ("micro_batch", "")]
)
def test_a_bad_field_of_a_row_is_named(field, value):
    with pytest.raises(BadField) as caught:
        plans.from_columns({**ROW, field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tp": 3.0}, "tp"),
        ({"pp": 64.0}, "pp"),
        ({"pp": 1.0, "vpp": 2.0}, "vpp"),
        ({"ep": 8.0}, "ep"),
        ({"global_batch": 2.0}, "global_batch"),
    ],
)
def test_a_plan_that_cannot_run_is_refused(change, field):
    plan = replace(plans.from_columns(ROW), **change)
    with pytest.raises(BadField) as caught:
        plans.check(plan, shapes.from_columns(ROW))
    assert caught.value.field == field


def test_a_batch_that_does_not_divide_is_named():
    plan = replace(plans.from_columns(ROW), global_batch=130.0)
    with pytest.raises(BadField, match="dp x micro_batch: 4 does not divide global_batch = 130"):
        plans.check_split(plan)
