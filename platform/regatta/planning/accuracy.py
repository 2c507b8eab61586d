"""How far predictions are from measured runs, and the fit of the constants to them.

Errors are of configurations: runs of one plan by several releases are averaged first, so that a
plan published seven times counts once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regatta.planning import calibration, memory, runs, step
from regatta.planning.calibration import Calibration, Sample
from regatta.planning.constants import Constants
from regatta.planning.runs import Run
from regatta.planning.shapes import BadField, stacked

Rows = Sequence[Mapping[str, str]]
Values = NDArray[np.float64]

CLEAN = (  # research sources whose configurations are complete
    *("Korthikanti2022", "Narayanan-SC21 (Megatron-LM paper)", "VIA-Research/vTrain"),
    *("MegaScale-NSDI24", "pytorch/torchtitan", "InternLM/InternEvo"),
)
DECIMAL = ("bytes", "GB")  # starts of mem_note where a GB is 1e9 bytes and not a GiB
CROWDED = 0.98  # of a chip's memory that a run which ran is assumed to need at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Measured runs that can be predicted: rows, what they describe, and one column each."""

    rows: list[Mapping[str, str]]
    runs: list[Run]

    def __getitem__(self, mask: NDArray[np.bool_]) -> Table:
        keep = np.flatnonzero(mask)
        return Table(rows=[self.rows[i] for i in keep], runs=[self.runs[i] for i in keep])

    def column(self, name: str) -> NDArray[np.str_]:
        """A column of the table as text."""
        return np.array([row[name] for row in self.rows], dtype=np.str_)


def readable(rows: Rows) -> Table:
    """The rows that describe a run completely."""
    good = []
    for row in rows:
        try:
            good.append((row, runs.read(row)))
        except BadField:
            continue
    return Table(rows=[row for row, _ in good], runs=[run for _, run in good])


def timed(table: Table) -> Table:
    """The core rows: complete, without known defect, with a measured time."""
    return table[table.column("core") == "1"]


def weighed(table: Table) -> Table:
    """The rows with a measured peak of memory."""
    return table[table.column("peak_mem_GB") != ""]


def measured_s(table: Table) -> Values:
    """Measured seconds of a step."""
    return table.column("iter_time_s").astype(np.float64)


def measured_bytes(table: Table) -> Values:
    """Measured peak of memory, in bytes: GB or GiB as the note on the measurement says."""
    units = [1e9 if row["mem_note"].startswith(DECIMAL) else 2.0**30 for row in table.rows]
    values = [float(row["peak_mem_GB"]) * u for row, u in zip(table.rows, units, strict=True)]
    return np.array(values)


def errors(table: Table, predicted: Values, measured: Values) -> dict[str, float]:
    """Relative error by configuration: mean prediction over mean measurement, less one.

    A row without a `config_id` is a configuration of its own.
    """
    members = defaultdict(list)
    for i, config in enumerate(table.column("config_id")):
        members[str(config) or table.rows[i]["id"]].append(i)
    return {
        config: float(predicted[at].mean() / measured[at].mean() - 1)
        for config, at in members.items()
    }


def summary(errors: Mapping[str, float]) -> dict[str, float]:
    """Count, mean, median and 90th percentile of absolute errors, and their bias, in percent."""
    values = np.array(list(errors.values()))
    size = np.abs(values)
    return {
        "n": len(values),
        "mean": round(float(size.mean()) * 100, 2),
        "median": round(float(np.median(size)) * 100, 2),
        "p90": round(float(np.quantile(size, 0.9)) * 100, 2),
        "bias": round(float(values.mean()) * 100, 2),
    }


def fitted(table: Table, prior: Calibration) -> Calibration:
    """The constants of time and of memory, fitted to the table's core rows and measured peaks."""
    return _with_time(_with_memory(prior, table), timed(table))


def _with_time(prior: Calibration, table: Table) -> Calibration:
    """Fitted to measured times of the plans that fit, by the memory that `prior` says."""
    shape, plan, here, _ = runs.settled(table.runs, prior)

    def predict(k: Constants) -> Values:
        return np.asarray(step.step(shape, plan, here, k).iteration_s)

    return calibration.fit(prior, _samples(table, measured_s(table)), predict, "time")


def _with_memory(prior: Calibration, table: Table) -> Calibration:
    """Fitted to measured peaks, and to every run that ran: what it needed was there."""
    peaks = weighed(table)
    ran = table[table.column("status") == "ok"]
    ran = ran[np.array([run.open_recompute == 0 for run in ran.runs], dtype=bool)]
    both = [*peaks.runs, *ran.runs]
    shape, plan, here = (
        stacked([getattr(run, part) for run in both]) for part in ("shape", "plan", "machine")
    )
    split = len(peaks.runs)

    def predict(k: Constants) -> Values:
        held = memory.peak(shape, plan, here, k)
        over = np.maximum(1.0, held.total_bytes / (CROWDED * here.memory_bytes))
        return np.concatenate([np.asarray(held.total_bytes)[:split], over[split:]])

    samples = [*_samples(peaks, measured_bytes(peaks)), *_samples(ran, np.ones(len(ran.runs)))]
    return calibration.fit(prior, samples, predict, "memory")


def _samples(table: Table, measured: Values) -> list[Sample]:
    repeats = Counter(row["config_id"] for row in table.rows)
    return [
        Sample(
            chip=run.chip,
            stack=run.stack,
            release=run.release,
            weight=1 / repeats[row["config_id"]],
            measured=float(value),
        )
        for row, run, value in zip(table.rows, table.runs, measured, strict=True)
    ]


def halves(table: Table, seed: int) -> tuple[Table, Table]:
    """The rows of a random half of the groups, and the rest."""
    groups = sorted(set(table.column("group")))
    chosen = np.random.default_rng(seed).permutation(groups)[: len(groups) // 2]
    first = np.isin(table.column("group"), chosen)
    return table[first], table[~first]


def regret(table: Table, predicted: Values, measured: Values) -> dict[str, float]:
    """What following the predictions costs: per comparison, 1 - throughput chosen over best.

    Compared are runs of one source, model, sequence length, number format, software and count of
    one kind of chip, which differ in the plan; throughput is sequences a second.
    """
    choices: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(table.rows):
        choices["|".join(row[name] for name in SAME)].append(i)
    batch = table.column("global_batch").astype(np.float64)
    lost = {}
    for name, at in choices.items():
        if len({table.rows[i]["config_id"] for i in at}) > 1:
            speed = batch[at] / measured[at]
            chosen = int(np.argmax(batch[at] / predicted[at]))
            lost[name] = float(1 - speed[chosen] / speed.max())
    return lost


SAME = (  # columns that are alike where only plans are compared
    *("source", "model", "layers", "heads", "seq_len", "dtype", "task"),
    *("stack", "stack_release", "gpu", "n_gpus"),
)
