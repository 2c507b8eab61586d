"""Series as figures, sentences and tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.clusters.selectors import LiveNode
from apps.insights import charts
from apps.insights.heat_map import heat_map
from apps.insights.models import NodeSample
from apps.insights.selectors import Series, Use

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
GIB = 1 << 30


def a_series(key="loss", values=(4.5, 3.0, 2.0), *, rank=0, **fields):
    line = [(float(step), value) for step, value in enumerate(values, 1)]
    about = {"points": len(values), "first_value": values[0], "step": len(values)}
    about |= {"value": values[-1], "at": AT}
    return Series(key=key, rank=rank, line=line, **(about | fields))


def a_use(minute=0, **fields):
    about = {"cpus": 2, "cpus_used": 1.5, "cpus_allocated": 2, "memory_bytes": 4 * GIB}
    about |= {"memory_used_bytes": 1 * GIB, "chips": 0, "chips_allocated": 0}
    return Use(at=AT + timedelta(minutes=minute), **(about | fields))


def a_node(**fields):
    about = {"pk": 1, "name": "n1", "role": "worker", "kind": "local", "address": "127.0.1.2"}
    about |= {"cpus": 4, "memory_bytes": 8 * GIB, "chip": "Kunlun-P800", "chips": 2}
    return LiveNode(**(about | fields))


def a_sample(**fields):
    about = {"node_id": 1, "cpus": 4, "cpus_used": 1.0, "memory_bytes": 8 * GIB}
    about |= {"memory_used_bytes": 8 * GIB, "chips": 2, "chips_allocated": 1.5}
    return NodeSample(**(about | fields))


def test_the_best_known_metrics_come_first_and_validation_goes_with_the_loss():
    keys = ["accuracy", "step_s", "val_loss", "total_steps", "tokens_per_s", "loss"]
    found = charts.job_charts([a_series(key) for key in keys])
    assert [chart.title for chart in found] == [
        "Loss",
        "Tokens per second",
        "Step time",
        "accuracy",
    ]
    assert [trace["name"] for trace in found[0].figure["data"]] == ["Validation loss", "Loss"]
    assert found[0].figure["layout"]["showlegend"] is True
    assert found[0].summary == (
        "Validation loss: 2.0000 at step 3. From 4.5000 to 2.0000 at step 3."
    )


def test_a_figure_holds_the_line_and_says_its_axes():
    [chart] = charts.job_charts([a_series()])
    [trace] = chart.figure["data"]
    assert (trace["x"], trace["y"], trace["mode"]) == ([1.0, 2.0, 3.0], [4.5, 3.0, 2.0], "lines")
    assert chart.figure["layout"]["xaxis"]["title"]["text"] == "step"
    assert chart.figure["layout"]["yaxis"]["title"]["text"] == "nats per token"


def test_a_chart_is_told_in_words_and_as_a_table():
    [chart] = charts.job_charts([a_series()])
    assert chart.summary == "From 4.5000 to 2.0000 at step 3."
    assert list(chart.columns) == ["Step", "Loss, rank 0"]
    assert chart.rows == [["1", "4.5000"], ["2", "3.0000"], ["3", "2.0000"]]


def test_ranks_are_named_where_there_are_several():
    [chart] = charts.job_charts([a_series("step_s", rank=rank) for rank in (0, 1)])
    assert [trace["name"] for trace in chart.figure["data"]] == [
        "Step time, rank 0",
        "Step time, rank 1",
    ]
    assert chart.summary == "Rank 0: 2.0000 at step 3. Rank 1: 2.0000 at step 3."


def test_a_table_of_a_long_series_shows_some_steps_and_the_last():
    [chart] = charts.job_charts([a_series(values=[1.0] * 950)])
    assert len(chart.rows) == 96
    assert (chart.rows[0][0], chart.rows[-1][0]) == ("1", "950")


def test_a_step_that_one_series_lacks_is_a_dash():
    loss, validation = a_series(), a_series("val_loss", values=[2.5])
    [chart] = charts.job_charts([loss, validation])
    assert chart.rows[1] == ["2", "3.0000", charts.NONE]


def test_values_that_are_not_finite_are_told():
    [chart] = charts.job_charts([a_series(unfit=2, unfit_step=7)])
    assert chart.notes == ["Loss: 2 values are not finite numbers, the first at step 7."]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0.0000"),
        (2.34567, "2.3457"),
        (12.346, "12.35"),
        (123.46, "123.5"),
        (9876.5, "9,876"),
        (0.00012345, "0.000123"),
        (1.5e9, "1.5e+09"),
    ],
)
def test_numbers_are_as_long_as_people_read_them(value, said):
    assert charts.number(value) == said


def test_use_is_drawn_against_what_there_is():
    cpus, memory = charts.use_charts([a_use(0), a_use(1, cpus_used=0.5)])
    assert [trace["name"] for trace in cpus.figure["data"]] == ["used", "given to work", "offered"]
    assert cpus.figure["data"][0]["y"] == [1.5, 0.5]
    assert cpus.summary == "Now 0.5 of 2.0 CPUs used; at most 1.5."
    assert memory.figure["data"][0]["y"] == [1.0, 1.0]
    assert cpus.rows[0] == ["12:00:00", "1.50", "2.00", "2.00"]


def test_chips_are_drawn_where_there_are_any():
    drawn = charts.use_charts([a_use(chips=4, chips_allocated=3)])
    assert [chart.slug for chart in drawn] == ["use-cpus", "use-memory", "use-chips"]


def test_a_heat_map_has_a_cell_for_each_thing_of_a_node():
    seen = heat_map([a_node()], {1: a_sample()})
    assert list(seen.columns) == ["CPU", "Memory", "Chip 1", "Chip 2"]
    [row] = seen.rows
    assert [(cell.text, cell.level) for cell in row.cells] == [
        ("25 %", 2),
        ("100 %", 7),
        ("100 %", 7),
        ("50 %", 4),
    ]
    assert [cell.simulated for cell in row.cells] == [False, False, True, True]
    assert row.cells[0].label == "1.0 of 4 CPUs busy"
    assert not seen.hatched


def test_no_data_is_not_zero():
    [row] = heat_map([a_node()], {}).rows
    assert {(cell.text, cell.level) for cell in row.cells} == {("?", "none")}
    [idle] = heat_map([a_node()], {1: a_sample(cpus_used=0.0)}).rows
    assert (idle.cells[0].text, idle.cells[0].level) == ("0 %", 0)


def test_a_head_without_cpus_of_its_own_shows_what_it_uses():
    seen = heat_map([a_node(cpus=0, chips=0)], {1: a_sample(cpus=0, cpus_used=0.3)})
    cpu, memory = seen.rows[0].cells
    assert (cpu.text, cpu.level) == ("0.3", "none")
    assert (memory.text[-3:], memory.level, seen.hatched) == ("GiB", "none", True)
    assert list(seen.columns) == ["CPU", "Memory"]
