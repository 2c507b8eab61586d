"""The accuracy report on the shipped rows, and what a prediction may depend on."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from regatta.planning import accuracy, calibration, report, runs

NAMES = ("id", "source", "source_loc", "group", "model", "notes", "config_id", "quality")


@cache
def table():
    return accuracy.readable(runs.published())


@cache
def figures():
    return {
        (str(record["what"]), str(record["of"])): record
        for record in report.shipped(table(), calibration.shipped())
    }


@pytest.mark.parametrize(
    ("what", "of", "figure", "most"),
    [
        ("time", "all", "mean", 4.6),
        ("time", "all", "median", 2.9),
        ("time", "all", "p90", 9.6),
        ("time", "research sources", "mean", 5.7),
        ("time", "mixed chips", "mean", 8.0),
        ("memory", "all", "mean", 7.0),
        ("regret", "all", "mean", 1.0),
    ],
)
def test_errors_on_the_shipped_rows_stay_small(what, of, figure, most):
    assert float(str(figures()[what, of][figure])) <= most


@pytest.mark.parametrize(
    ("of", "least"),
    [
        ("rows that ran, called fitting", 98.0),
        ("rows out of memory, called not fitting", 90.0),
    ],
)
def test_what_fits_is_told_from_what_does_not(of, least):
    assert float(str(figures()["memory", of]["share"])) >= least


def test_every_core_row_is_predicted():
    core = [row for row in runs.published() if row["core"] == "1"]
    assert len(accuracy.timed(table()).rows) == len(core)


def test_a_fit_on_half_of_the_groups_predicts_the_other_half():
    (half, *_rest) = report.held_out(table(), calibration.shipped(), [2])
    assert float(str(half["mean"])) <= 10
    assert float(str(half["median"])) <= 6
    assert float(str(half["p90"])) <= 20


def test_runs_of_one_node_that_no_fit_has_seen_are_predicted():
    (record,) = report.one_node(calibration.shipped())
    assert record["n"] == 1030
    assert float(str(record["mean"])) <= 7


def test_halves_share_no_group():
    one, other = accuracy.halves(table(), 0)
    assert not set(one.column("group")) & set(other.column("group"))
    assert len(one.rows) + len(other.rows) == len(table().rows)


def test_open_recomputation_is_the_least_that_fits_for_time_and_memory_alike():
    (row,) = (row for row in runs.published() if row["id"] == "dgxcbenchmarki-0089")
    said = {how: {**row, "recompute": how} for how in ("", "none", "full")}
    found = runs.predict(accuracy.readable(list(said.values())).runs)
    silent, without, whole = np.asarray(found.iteration_s)
    assert without < silent == whole
    assert np.asarray(found.fits).tolist() == [1, 0, 1]
    small = {**row, "micro_batch": "1", "layers": "4"}
    few = runs.predict(accuracy.readable([small, {**small, "recompute": "none"}]).runs)
    assert np.ptp(np.asarray(few.iteration_s)) == 0


def test_renaming_changes_nothing():
    rows = runs.published()
    renamed = [{**row, **dict.fromkeys(NAMES, f"x{i}")} for i, row in enumerate(rows)]
    before = runs.predict(accuracy.readable(rows).runs)
    after = runs.predict(accuracy.readable(renamed).runs)
    for name in ("iteration_s", "peak_bytes", "fits"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_repeats_of_one_plan_count_once():
    few = table()[np.isin(table().column("config_id"), ["c0001", "c0002"])]
    errors = accuracy.errors(few, accuracy.measured_s(few) * 1.1, accuracy.measured_s(few))
    assert errors == {"c0001": pytest.approx(0.1), "c0002": pytest.approx(0.1)}


def test_the_best_choice_has_no_regret_and_the_worst_has():
    timed = accuracy.timed(table())
    measured = accuracy.measured_s(timed)
    assert set(accuracy.regret(timed, measured, measured).values()) == {0.0}
    lost = accuracy.regret(timed, 1 / measured, measured).values()
    assert max(lost) > 0.1


def test_the_page_shows_every_record():
    records = [*figures().values(), *report.worst(table(), calibration.shipped(), 3)]
    lines = report.page(records).splitlines()
    for record in records:
        said = [f" {value} |" for name, value in record.items() if name != "what"]
        assert any(all(value in line for value in said) for line in lines), record
