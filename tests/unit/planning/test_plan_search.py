"""`regatta plan search` and `plan mixed`: print what their pages say, refuse by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regatta.cli.plan import app
from regatta.planning.hf import MODELS

ROOT = Path(__file__).parents[3]
LLAMA = MODELS / "llama-3.1-70b.json"
COLUMNS = {"layers": 8, "hidden": 2048, "heads": 16, "ffn_hidden": 8192, "vocab": 32000}
CLUSTER = {"chips": {"A100-80GB": 16}, "chips_per_node": 8, "network_GBps_per_chip": 25}


@pytest.fixture
def ask(tmp_path):
    def call(command, *words, model=None, cluster=None, batch=64, seq_len=2048):
        (tmp_path / "M.json").write_text(json.dumps(COLUMNS if model is None else model))
        (tmp_path / "C.json").write_text(json.dumps(CLUSTER if cluster is None else cluster))
        files = ["--model", str(tmp_path / "M.json"), "--cluster", str(tmp_path / "C.json")]
        more = ["--global-batch", str(batch), "--seq-len", str(seq_len), *words]
        return CliRunner().invoke(app, [command, *files, *more])

    return call


def documented(page: str) -> dict:
    """The example answer of a page of the reference."""
    text = (ROOT / "docs" / "reference" / page).read_text()
    return json.loads(re.search(r"```json answer\n(.*?)```", text, re.DOTALL)[1])


def alike(found, example, where="answer"):
    """The same keys and kinds of values, all the way down."""
    if isinstance(example, dict) and "A800-80GB" not in example:
        assert list(found) == list(example), where
        for key, value in example.items():
            alike(found[key], value, f"{where}.{key}")
    elif isinstance(example, list):
        assert found, where
        for item in found:
            alike(item, example[0], where)
    else:
        numbers = (int, float)
        kind = type(example)
        assert isinstance(found, numbers if kind in numbers else kind), where


def test_the_answer_of_search_has_the_documented_shape(ask):
    found = ask("search", "--top", "3", "--json")
    assert found.exit_code == 0, found.output
    answer = json.loads(found.stdout)
    alike(answer, documented("plan-search.md"))
    assert len(answer["plans"]) == 3
    assert answer["evaluated"] >= answer["feasible"] >= answer["timed"] > 0


def test_the_answer_of_mixed_has_the_documented_shape(ask):
    cluster = {"chips": {"A800-80GB": 16, "H800-80GB": 16}}
    found = ask("mixed", "--json", cluster=cluster)
    assert found.exit_code == 0, found.output
    alike(json.loads(found.stdout), documented("plan-mixed.md"))


def test_both_read_a_config_json_and_answer_in_sentences(ask):
    model = json.loads(LLAMA.read_text())
    one = {"chips": {"H800-80GB": 64}}
    two = {"chips": {"H800-80GB": 64, "A800-80GB": 64}}
    said = ask("search", model=model, cluster=one).stdout
    assert "fastest; its time goes to" in said
    assert "efficiency" in ask("mixed", model=model, cluster=two).stdout


@pytest.mark.parametrize("command", ["search", "mixed"])
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"cluster": {"chips": {}}}, "chips: name at least one kind"),
        ({"cluster": {"chips": {"A100-80GB": 0}}}, "chips: A100-80GB needs a whole count from 1"),
        ({"cluster": {"chips": {"A100-80": 8}}}, "chip: the catalogue has no 'A100-80'"),
        ({"cluster": {"chips": {"V100-32GB": 8}}}, "dtype: V100-32GB has no bf16 peak"),
        ({"cluster": CLUSTER | {"nodes": 2}}, "nodes: unknown; a cluster has chips"),
        ({"cluster": [1]}, "a JSON object is right"),
        ({"model": {**COLUMNS, "hidden": None}}, "hidden: is empty"),
        ({"model": {"model_type": "llama"}}, "hidden_size: is missing"),
    ],
)
def test_bad_input_names_the_field_and_ends_with_2(ask, command, more, says):
    found = ask(command, "--json", **more)
    assert found.exit_code == 2
    assert says in found.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fix", "tensor=8"], "tensor: unknown; one of tp"),
        (["--fix", "tp=eight"], "tp: 'eight' is no number; tp=8"),
        (["--fix", "tp=3"], "tp: no plan of 16 chips has these values"),
        (["--headroom", "1.5"], "headroom: 1.5 is out of range"),
        (["--dtype", "bf17"], "dtype: 'bf17' is none of"),
    ],
)
def test_bad_options_name_themselves_and_end_with_2(ask, words, says):
    found = ask("search", *words)
    assert found.exit_code == 2
    assert says in found.stderr


def test_a_batch_that_no_split_divides_is_named(ask):
    found = ask("search", batch=3, cluster={"chips": {"A100-80GB": 1111}})
    assert found.exit_code == 2
    assert "global_batch: 3 divides in no way over 1111 chips; a multiple of" in found.stderr


def test_a_model_that_fits_nowhere_ends_with_1_and_the_nearest_miss(ask):
    huge = {**COLUMNS, "layers": 96, "hidden": 12288, "heads": 96, "ffn_hidden": 49152}
    found = ask("search", "--json", model=huge)
    assert found.exit_code == 1
    assert "nearest is tp" in json.loads(found.stdout)["nearest"]
    assert "chips with" in found.stderr


def test_recomputation_can_be_forbidden(ask):
    found = ask("search", "--fix", "recompute=none", "--fix", "tp=4,8", "--json")
    plans = json.loads(found.stdout)["plans"]
    assert {plan["recompute"] for plan in plans} == {"none"}
    assert {plan["tp"] for plan in plans} <= {4, 8}
