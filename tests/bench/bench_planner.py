"""How far the planner is from measured runs, and what its searches find and take."""

from __future__ import annotations

import planner_search
from measure import tell

from regatta.planning import accuracy, calibration, report, runs

LIMITS = {
    ("time", "all", "mean"): 10,
    ("time", "all", "median"): 6,
    ("time", "all", "p90"): 20,
    ("time", "research sources", "mean"): 6,
    ("time", "mixed chips", "mean"): 10,
    ("memory", "all", "mean"): 8,
    ("regret", "all", "mean"): 3,
    ("held out", "mean of 5 halves", "mean"): 10,
    ("held out", "mean of 5 halves", "median"): 6,
    ("held out", "mean of 5 halves", "p90"): 20,
}
FIGURES = ("mean", "median", "p90", "bias", "share")


def main() -> None:
    table, shipped = accuracy.readable(runs.published()), calibration.shipped()
    held = list(report.held_out(table, shipped, report.SEEDS))
    for record in (
        *report.shipped(table, shipped),
        *held,
        *report.means(held),
        *report.one_node(shipped),
    ):
        what, of = str(record["what"]), str(record["of"])
        for figure in FIGURES:
            if figure in record:
                limit = LIMITS.get((what, of, figure))
                value = float(str(record[figure]))
                tell(f"planner {what} {figure}", value, "%", limit=limit, of=of, n=record["n"])
    for record in report.worst(table, shipped):
        told = {name: record[name] for name in ("run", "reason")}
        tell("planner worst", float(str(record["error"])), "%", of=record["of"], **told)
    planner_search.main()


if __name__ == "__main__":
    main()
