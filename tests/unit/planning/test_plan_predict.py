"""`regatta plan predict`: its lines, and what it says of a bad table."""

from __future__ import annotations

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from regatta.cli import app
from regatta.planning import runs

KEYS = {
    *("id", "iteration_s", "model_tflops_per_gpu", "mfu", "peak_memory_gib", "fits"),
    *("breakdown", "memory_gib"),
}


def call(text, *more):
    return CliRunner().invoke(app, ["plan", "predict", "-", *more], input=text)


def table(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def good(count=3):
    return [row for row in runs.published() if row["core"] == "1"][:count]


def test_each_row_has_its_line_with_parts_that_sum():
    result = call(table(good()), "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [line["id"] for line in lines] == [row["id"] for row in good()]
    for line in lines:
        assert set(line) == KEYS
        assert sum(line["breakdown"].values()) == pytest.approx(line["iteration_s"])
        assert sum(line["memory_gib"].values()) == pytest.approx(line["peak_memory_gib"])
        assert 0 < line["mfu"] < 1


def test_only_the_required_columns_are_required():
    rows = [{name: row[name] for name in runs.REQUIRED} for row in good(1)]
    assert call(table(rows), "--json").exit_code == 0


def test_missing_columns_are_named():
    rows = [{k: v for k, v in row.items() if k not in {"vocab", "gpu"}} for row in good(1)]
    result = call(table(rows), "--json")
    assert result.exit_code == 2
    assert "missing columns: vocab, gpu" in result.stderr


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("gpu", "H1000", "did you mean"),
        ("hidden", "", "is empty"),
        ("n_gpus", "0", "at least 1 is right"),
        ("tp", "3", "does not divide heads"),
    ],
)
def test_a_bad_row_names_its_field_and_the_others_are_predicted(field, value, says):
    one, two = good(2)
    bad = {**one, field: value} | ({"n_gpus": "384", "dp": ""} if field == "tp" else {})
    result = call(table([bad, two]), "--json")
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert result.exit_code == 0
    assert (first["id"], first["field"]) == (one["id"], field)
    assert says in first["error"]
    assert second["iteration_s"] > 0


@pytest.mark.parametrize("text", ["", table(good(1)).splitlines()[0]])
def test_a_table_without_rows_is_refused(text):
    assert call(text).exit_code == 2


def test_no_row_to_predict_is_a_refusal():
    assert call(table([{**good(1)[0], "gpu": "none"}])).exit_code == 2


def test_a_file_that_is_not_there_is_named():
    result = CliRunner().invoke(app, ["plan", "predict", "nowhere.csv"])
    assert result.exit_code == 2
    assert "nowhere.csv" in result.stderr


def test_a_number_format_that_nobody_read_is_the_usual_one_of_the_software():
    (row,) = good(1)
    said = {"stack": "sailor", "stack_release": "2025", "recompute": "none"}
    unread, stated = (
        json.loads(call(table([{**row, **said, "dtype": dtype}]), "--json").stdout)
        for dtype in ("fp16 (not read)", "fp16")
    )
    assert unread["memory_gib"]["weights"] == 2 * stated["memory_gib"]["weights"]


def test_mixed_chips_go_at_the_pace_of_the_slowest_with_the_memory_of_the_smallest():
    row = {**good(1)[0], "gpus_per_node": "8", "tp": "8", "dp": ""}
    old, new, both = (
        json.loads(call(table([{**row, "gpu": gpu}]), "--json").stdout)
        for gpu in ("A100-40GB", "H100-80GB", "H100-80GB+A100-40GB")
    )
    assert both["iteration_s"] == pytest.approx(old["iteration_s"])
    assert old["iteration_s"] > new["iteration_s"]
    assert both["fits"] <= old["fits"]


def test_an_unknown_kind_among_several_is_named():
    line = json.loads(
        call(
            table([{**good(1)[0], "gpu": "H100-80GB+X1"}, *good(1)]), "--json"
        ).stdout.splitlines()[0]
    )
    assert line["field"] == "gpu"
    assert "X1" in line["error"]


def test_plain_ethernet_is_slow_and_a_named_fast_network_is_not():
    row = {**good(1)[0], "inter_net_GBps_per_gpu": ""}
    plain, fast, unsaid = (
        json.loads(call(table([{**row, "inter_node_net": name}]), "--json").stdout)["iteration_s"]
        for name in ("campus Ethernet", "ConnectX IB/Ethernet", "")
    )
    assert plain > fast == unsaid


def test_a_person_reads_a_sentence():
    line = call(table(good(1))).stdout
    assert line.startswith(f"{good(1)[0]['id']}: ")
    assert "s a step" in line
    assert "fits" in line
