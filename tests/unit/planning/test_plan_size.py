"""`regatta plan size`: what it prints is what its page says, and what it refuses, it names."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regatta.cli.plan import app
from regatta.planning.hf import MODELS as CONFIGS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "plan-size.md").read_text()
TRAINING = ("--seq-len", "8192", "--tokens", "1e12")
SERVING = ("--serve", "--requests-per-s", "5", "--prompt-tokens", "800", "--output-tokens", "200")


def size(*words, model="llama-3.1-70b"):
    return CliRunner().invoke(app, ["size", "--model", str(CONFIGS / f"{model}.json"), *words])


def answer(*words, **more):
    found = size(*words, "--json", **more)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def documented(title, table):
    """Names in the first column of the n-th table below a title of the page."""
    section = re.split(r"^## ", PAGE, flags=re.M)[title]
    rows = re.split(r"\n\| field \| is \|\n\|---\|---\|\n", section)[table].split("\n\n")[0]
    return {
        name for row in rows.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }


def test_a_training_is_answered_as_documented():
    told = answer(*TRAINING, "--chip", "H100", "--chip", "A100=1.2", "--own")
    assert set(told) == documented(1, 1)
    assert all(set(entry) == documented(1, 2) - {"launch"} for entry in told["front"])
    for pick in ("cheapest", "fastest", "balanced"):
        assert set(told[pick]) == documented(1, 2)
        assert {k: v for k, v in told[pick].items() if k != "launch"} in told["front"]
    assert told["kind"] == "training"


def test_serving_is_answered_as_documented():
    told = answer(*SERVING, "--chip", "H100", "--itl-s", "0.05")
    assert set(told) == documented(1, 1)
    assert all(set(entry) == documented(2, 1) for entry in told["front"])
    assert told["kind"] == "serving"
    assert all(entry["itl_s"] <= 0.05 for entry in told["front"])


def test_the_breakdown_of_every_option_sums_to_its_step():
    for entry in answer(*TRAINING, "--chip", "H100")["front"]:
        assert sum(entry["breakdown"].values()) == pytest.approx(entry["iteration_s"])


def test_a_price_given_is_used_and_one_of_the_catalogue_told_with_its_source():
    told = answer(*TRAINING, "--chip", "H100=9", "--max-chips", "64")
    assert {entry["usd_per_chip_hour"] for entry in told["front"]} == {9.0}
    assert told["prices"]["H100-80GB"]["quality"] == "given"
    told = answer(*TRAINING, "--chip", "H100", "--max-chips", "64")
    price = told["prices"]["H100-80GB"]
    assert price["usd_per_hour"] == 2.95
    assert price["source"].startswith("mercatus-ai.com")
    assert (price["quality"], price["year"]) == ("approximate", 2026)


def test_picks_can_be_started_elsewhere():
    launch = answer(*TRAINING, "--chip", "H100", "--max-chips", "128")["fastest"]["launch"]
    assert "--num-layers 80" in launch["megatron-lm"]
    assert tomllib.loads(launch["torchtitan"])["training"]["seq_len"] == 8192


def test_fine_tuning_counts_samples_by_length_and_epochs_and_adapters_are_cheaper():
    tuning = ("--seq-len", "4096", "--samples", "1e5", "--chip", "H100", "--max-chips", "64")
    whole = answer(*tuning, "--epochs", "2", model="llama-3-8b")
    assert whole["request"]["tokens"] == 1e5 * 2 * 4096
    assert whole["request"]["global_batch"] == 64
    adapters = answer(*tuning, "--epochs", "2", "--lora", model="llama-3-8b")
    assert adapters["cheapest"]["cost_usd"] < whole["cheapest"]["cost_usd"]
    assert adapters["cheapest"]["checkpoint_save_s"] < whole["cheapest"]["checkpoint_save_s"]


def test_a_start_gives_the_date_of_the_finish():
    told = answer(*TRAINING, "--chip", "H100", "--max-chips", "512", "--start", "2026-12-01")
    assert all(entry["finish"] > "2026-12-01" for entry in told["front"])
    assert "2026-12" in size(*TRAINING, "--chip", "B200", "--start", "2026-12-01").output


def test_owned_chips_are_told_with_the_share_of_hours_that_pays(tmp_path):
    terms = tmp_path / "terms.json"
    terms.write_text('{"kwh_usd": 0.05, "chip_usd": 20000}')
    own = ("--chip", "H100", "--max-chips", "64", "--own-terms", str(terms))
    owned = next(e for e in answer(*TRAINING, *own)["front"] if e["basis"] == "own")
    assert owned["capex_usd"] == owned["count"] * 20_000 * 1.4
    assert owned["break_even_busy"] == pytest.approx(owned["usd_per_chip_hour"] / 2.95)


def test_people_read_the_same_front():
    said = size(*TRAINING, "--chip", "H100", "--max-chips", "64").output
    assert "cheapest" in said
    assert "64 H100-80GB (rent)" in said
    said = size(*SERVING, "--chip", "H100").output
    assert "USD per million tokens" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*TRAINING, "--chip", "H10O"), "chip: the catalogue has no 'H10O'; did you mean H100"),
        ((*TRAINING, "--chip", "H100=cheap"), "chip: 'cheap' is no number"),
        ((*TRAINING, "--chip", "H100=-1"), "price: -1 is out of range; a number above 0"),
        ((*TRAINING, "--max-chips", "0"), "max_chips: 0 of"),
        ((*TRAINING, "--budget-usd", "-5"), "budget_usd: -5 is out of range; a number above 0"),
        ((*TRAINING, "--deadline-days", "0"), "deadline_days: 0 is out of range"),
        ((*TRAINING, "--dtype", "int3"), "dtype: 'int3' is none of fp32"),
        ((*TRAINING, "--samples", "5"), "tokens: give either --tokens, or --samples"),
        (("--seq-len", "8192"), "tokens: give either --tokens, or --samples"),
        (("--tokens", "1e12"), "seq_len: give the tokens of one sequence"),
        (("--serve",), "requests_per_s: is missing; --serve needs"),
        ((*SERVING, "--itl-s", "-1"), "itl_s: -1 is out of range"),
        ((*SERVING, "--quantization", "int3"), "quantization: 'int3' is none of bf16"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_field_with_code_2(words, message):
    found = size(*words)
    assert found.exit_code == 2
    assert message in found.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*TRAINING, "--chip", "L4", "--max-chips", "8"), "nothing fits 8 x L4; nearest is"),
        ((*TRAINING, "--chip", "V100"), "V100-32GB has no bf16 peak, it has fp16, fp32; use fp16"),
        ((*TRAINING, "--chip", "H100", "--deadline-days", "0.1"), "Raise deadline_days from 0.1"),
        ((*TRAINING, "--chip", "H100", "--budget-usd", "9"), "budget_usd from 9 to"),
        ((*TRAINING, "--chip", "P800"), "price: none is known for Kunlun-P800"),
        ((*SERVING, "--chip", "L4", "--max-chips", "1"), "GiB on each of 1 L4"),
        ((*SERVING, "--chip", "A100", "--itl-s", "0.0001"), "Raise itl_s from 0.0001 to"),
    ],
)
def test_what_fits_nowhere_tells_the_nearest_miss_with_code_1(words, message):
    found = size(*words)
    assert found.exit_code == 1
    assert message in found.stderr


def test_files_that_say_nothing_are_named(tmp_path):
    bad = tmp_path / "model.json"
    bad.write_text("{")
    found = CliRunner().invoke(app, ["size", "--model", str(bad), *TRAINING])
    assert (found.exit_code, "is no JSON" in found.stderr) == (2, True)
    found = CliRunner().invoke(app, ["size", "--model", str(tmp_path / "none"), *TRAINING])
    assert (found.exit_code, "none" in found.stderr) == (2, True)
    bad.write_text('{"kwh": 1}')
    found = size(*TRAINING, "--own-terms", str(bad))
    assert (found.exit_code, "kwh: unknown; terms of owning are" in found.stderr) == (2, True)
