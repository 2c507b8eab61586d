"""The four commands of `regatta plan` against input that cannot be meant: a named field, no trace.

What each refuses by name in everyday use stands in its own test; here is what attackers try.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from regatta.cli.plan import app
from regatta.planning import runs
from regatta.planning.hf import known_models, read_model
from regatta.planning.shapes import BadField

MODEL = {"layers": 8, "hidden": 2048, "heads": 16, "ffn_hidden": 8192, "vocab": 32000}
CLUSTER = {"chips": {"A100-80GB": 16}, "chips_per_node": 8, "network_GBps_per_chip": 25}
SIZE = ["--tokens", "1e11", "--chip", "A100-80GB=2"]
HUGE = [float("nan"), float("inf"), -1, 0.5, 1e300, 10**30, 10**400, "x", [], {}, True]


@pytest.fixture
def ask(tmp_path):
    def call(command, *words, model=MODEL, cluster=CLUSTER):
        for name, content in (("M", model), ("C", cluster)):
            text = content if isinstance(content, str | bytes) else json.dumps(content)
            data = text if isinstance(text, bytes) else text.encode()
            (tmp_path / f"{name}.json").write_bytes(data)
        where = [] if command == "size" else ["--cluster", str(tmp_path / "C.json")]
        given_words = ["--model", str(tmp_path / "M.json"), *where, "--seq-len", "2048", *words]
        if command != "size" and "--global-batch" not in words:
            given_words += ["--global-batch", "64"]
        return CliRunner().invoke(
            app, [command, *given_words, *(SIZE if command == "size" else [])]
        )

    return call


def refused(found, says, code=2):
    assert found.exit_code == code, found.output
    assert isinstance(found.exception, SystemExit)
    assert says in found.stderr


COMMANDS = pytest.mark.parametrize("command", ["search", "mixed", "size"])


@pytest.mark.parametrize("field", [*MODEL, "kv_heads", "head_dim"])
@pytest.mark.parametrize("value", HUGE)
def test_no_impossible_size_of_a_model_is_taken(field, value):
    with pytest.raises(BadField, match=f"^{field}: "):
        read_model({**MODEL, field: value}, seq_len=2048)


@pytest.mark.parametrize("value", [value for value in HUGE if value not in ([], {})])
def test_nor_from_a_configuration(value):
    config = known_models()["llama-3-8b"]
    for field in ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size"):
        with pytest.raises(BadField, match=f"^{field}: "):
            read_model({**config, field: value}, seq_len=2048)
    with pytest.raises(BadField, match=r"^layers: 1e\+06 is out of range; at most 16,384"):
        read_model({**config, "num_hidden_layers": 10**6}, seq_len=2048)


@COMMANDS
def test_each_command_says_which_size_is_wrong(ask, command):
    refused(ask(command, model=json.dumps({**MODEL, "layers": 1e300})), "layers: 1e+300 is out of")


@COMMANDS
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "M.json: is no JSON: Expecting value"),
        ("[]", "M.json: a JSON object is right"),
        (b"\xff\xfe\x00", "M.json: is no UTF-8 text, at byte 0"),
        ('{"a":' * 100_000, "M.json: is nested too deeply"),
        ('{"layers":' + "9" * 5000 + "}", "M.json: is no JSON"),
        (json.dumps({**MODEL, "colour": 1}), "colour: unknown; a model has"),
        (json.dumps({"model_type": ["llama"]}), "model_type: \"['llama']\" is unknown"),
    ],
)
def test_a_file_that_is_no_model_is_named(ask, command, text, says):
    refused(ask(command, model=text), says)


def test_a_file_without_end_is_not_read_to_its_end():
    found = CliRunner().invoke(app, ["predict", "/dev/zero"])
    refused(found, "/dev/zero: is too large; at most 64 MiB is right")


@pytest.mark.parametrize("command", ["search", "mixed"])
@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        ({"chips": {"A100-80GB": 10**18}}, "chips: A100-80GB needs a count of at most"),
        ({"chips": {"A100-80GB": "8"}}, "chips: A100-80GB needs a whole count"),
        ({"chips": {}}, "chips: name at least one kind"),
        (CLUSTER | {"chips_per_node": 1e300}, "chips_per_node: a whole number"),
        (CLUSTER | {"network_GBps_per_chip": 1e-300}, "network_GBps_per_chip: a number above 0"),
        (CLUSTER | {"network_GBps_per_chip": float("nan")}, "network_GBps_per_chip: a number"),
        ({"chips": {"V100-32GB": 8}}, "dtype: V100-32GB has no bf16 peak, it has fp16"),
    ],
)
def test_no_impossible_cluster_is_taken(ask, command, cluster, says):
    refused(ask(command, cluster=cluster), says)


@pytest.mark.parametrize(
    ("command", "words", "says"),
    [
        ("search", ["--global-batch", str(10**18)], "--global-batch"),
        ("mixed", ["--global-batch", "0"], "--global-batch"),
        ("search", ["--top", str(10**12)], "--top"),
        ("search", ["--fix", "=8"], "fix: unknown; one of tp"),
        (
            "search",
            ["--fix", "tp=nan"],
            "tp: no plan of 16 chips has these values; possible are 1",
        ),
        ("mixed", ["--headroom", "nan"], "headroom: nan is out of range"),
        ("size", ["--max-chips", str(10**30)], "--max-chips"),
        ("size", ["--global-batch", "0"], "--global-batch"),
        ("size", ["--start", "9999-12-31"], "start: 9999-12-31 and"),
        ("size", ["--chip", "A100"], "chip: A100-80GB is A100-80GB, which is there already"),
        ("size", ["--storage-GBps", "1e300"], "storage_Bps: inf is out of range"),
    ],
)
def test_no_impossible_option_is_taken(ask, command, words, says):
    refused(ask(command, *words), says)


def test_more_kinds_than_can_be_divided_are_refused(ask):
    kinds = ["A100-80GB", "H100-80GB", "A800-80GB", "H800-80GB", "Kunlun-P800", "MetaX-C500"]
    refused(ask("mixed", cluster={"chips": dict.fromkeys(kinds, 8)}), "chips: 6 kinds; at most 5")


def test_values_fixed_twice_are_all_allowed(ask):
    found = ask("search", "--fix", "tp=8", "--fix", "tp=4", "--json")
    assert {plan["tp"] for plan in json.loads(found.stdout)["plans"]} <= {4, 8}


@pytest.mark.parametrize(
    ("field", "values"),
    [
        *((name, ["nan", "inf", "-1", "0.5", "1e300"]) for name in ("n_gpus", "tp", "pp", "ep")),
        *((name, ["nan", "inf", "-1", "1e300"]) for name in ("seq_len", "global_batch", "hidden")),
        ("zero_stage", ["nan", "4", "-1", "0.5"]),
        ("sequence_parallel", ["2", "0.5", "nan"]),
        ("gated_ffn", ["2", "0.5"]),
    ],
)
def test_a_row_with_an_impossible_number_names_its_field(field, values):
    row = next(row for row in runs.published() if row["core"] == "1")
    for value in values:
        bad = {**row, "dp": "", field: value}
        text = io.StringIO()
        csv.writer(text).writerows([bad, bad.values()])
        found = CliRunner().invoke(app, ["predict", "-", "--json"], input=text.getvalue())
        assert found.exit_code == 2, (field, value, found.output)
        assert json.loads(found.stdout)["field"] == field


def test_a_field_longer_than_a_table_can_hold_is_refused(tmp_path):
    (tmp_path / "runs.csv").write_text("id," + "x" * 200_000)
    refused(CliRunner().invoke(app, ["predict", str(tmp_path / "runs.csv")]), "field larger than")


VALUES = st.one_of(
    st.integers(-2, 300), st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3)
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    command=st.sampled_from(["search", "mixed"]),
    model=st.dictionaries(st.sampled_from([*MODEL, "kv_heads", "experts", "top_k"]), VALUES),
    chips=st.one_of(st.integers(-1, 64), VALUES),
    more=st.dictionaries(st.sampled_from(["chips_per_node", "network_GBps_per_chip"]), VALUES),
)
@example(command="mixed", model={"hidden": 1}, chips=1, more={"chips_per_node": 1})
def test_whatever_is_asked_ends_in_an_answer_or_a_sentence(ask, command, model, chips, more):
    found = ask(command, "--json", model=MODEL | model, cluster={"chips": {"H800": chips}, **more})
    assert isinstance(found.exception, SystemExit | None), repr(found.exception)
    assert found.exit_code in {0, 1, 2}
    assert found.exit_code == 0 or ": " in found.stderr
    if found.exit_code == 0:
        json.loads(found.stdout, parse_constant=pytest.fail)


def test_a_command_of_the_planner_starts_without_django_ray_or_torch():
    loaded = "import sys; from regatta.cli.plan_search_answer import run; print(*sys.modules)"
    names = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"django", "ray", "torch", "celery", "psycopg"} & set(names)
