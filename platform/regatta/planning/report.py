"""The accuracy report: every figure as a JSON-like record, and the page that shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from regatta.planning import accuracy, runs
from regatta.planning.accuracy import CLEAN, Table
from regatta.planning.calibration import Calibration

SEEDS = range(5)
Record = dict[str, object]


def shipped(table: Table, constants: Calibration) -> Iterator[Record]:
    """Errors of the shipped constants on the rows that they were fitted to, and of memory."""
    timed = accuracy.timed(table)
    predicted = runs.predict(timed.runs, constants)
    times = np.asarray(predicted.iteration_s)
    errors = accuracy.errors(timed, times, accuracy.measured_s(timed))
    yield {"what": "time", "of": "all", **accuracy.summary(errors)}
    for name, label in _groups(timed):
        chosen = {config: error for config, error in errors.items() if label[config] == name}
        yield {"what": "time", "of": name, **accuracy.summary(chosen)}
    yield from _memory(table, constants)
    lost = accuracy.regret(timed, times, accuracy.measured_s(timed))
    values = np.array(list(lost.values())) * 100
    yield {
        "what": "regret",
        "of": "all",
        "n": len(values),
        "mean": round(float(values.mean()), 2),
        "worst": round(float(values.max()), 2),
    }


def _memory(table: Table, constants: Calibration) -> Iterator[Record]:
    weighed = accuracy.weighed(table)
    peaks = np.asarray(runs.predict(weighed.runs, constants).peak_bytes)
    errors = accuracy.errors(weighed, peaks, accuracy.measured_bytes(weighed))
    yield {"what": "memory", "of": "all", **accuracy.summary(errors)}
    status = table.column("status")
    for name, mask, fits in (
        ("rows that ran, called fitting", status == "ok", 1.0),
        ("rows out of memory, called not fitting", status == "OOM", 0.0),
    ):
        called = np.asarray(runs.predict(table[mask].runs, constants).fits)
        share = float(np.mean(called == fits)) * 100
        yield {"what": "memory", "of": name, "n": int(mask.sum()), "share": round(share, 2)}


def held_out(table: Table, prior: Calibration, seeds: Sequence[int]) -> Iterator[Record]:
    """Errors on one random half of the groups of constants fitted on the other, per seed."""
    for seed in seeds:
        seen, unseen = accuracy.halves(table, seed)
        constants = accuracy.fitted(seen, prior)
        timed = accuracy.timed(unseen)
        times = np.asarray(runs.predict(timed.runs, constants).iteration_s)
        errors = accuracy.errors(timed, times, accuracy.measured_s(timed))
        clean = {row["config_id"] for row in timed.rows if row["source"] in CLEAN}
        yield {"what": "held out", "of": f"half {seed}", **accuracy.summary(errors)}
        yield {
            "what": "held out, research",
            "of": f"half {seed}",
            **accuracy.summary({c: e for c, e in errors.items() if c in clean}),
        }
        weighed = accuracy.weighed(unseen)
        peaks = np.asarray(runs.predict(weighed.runs, constants).peak_bytes)
        errors = accuracy.errors(weighed, peaks, accuracy.measured_bytes(weighed))
        yield {"what": "held out, memory", "of": f"half {seed}", **accuracy.summary(errors)}


def one_node(constants: Calibration) -> Iterator[Record]:
    """Errors on runs of one node that no fit has seen, with the same software on the same chip."""
    table = accuracy.readable(runs.published("one_node_runs"))
    times = np.asarray(runs.predict(table.runs, constants).iteration_s)
    errors = accuracy.errors(table, times, accuracy.measured_s(table))
    yield {"what": "one node", "of": "8 A100-80GB, vTrain's data", **accuracy.summary(errors)}


def means(records: Sequence[Record]) -> Iterator[Record]:
    """The mean over seeds of every figure held out."""
    for what in dict.fromkeys(str(record["what"]) for record in records):
        same = [record for record in records if record["what"] == what]
        figures = {
            name: round(float(np.mean([float(str(record[name])) for record in same])), 2)
            for name in ("n", "mean", "median", "p90", "bias")
        }
        yield {"what": what, "of": f"mean of {len(same)} halves", **figures}


def worst(table: Table, constants: Calibration, count: int = 10) -> Iterator[Record]:
    """The configurations that are predicted worst, with what may explain it."""
    timed = accuracy.timed(table)
    predicted = runs.predict(timed.runs, constants)
    measured = accuracy.measured_s(timed)
    errors = accuracy.errors(timed, np.asarray(predicted.iteration_s), measured)
    members = defaultdict(list)
    for i, row in enumerate(timed.rows):
        members[row["config_id"]].append(i)
    held = np.asarray(predicted.peak_bytes) / [run.machine.memory_bytes for run in timed.runs]
    for config in sorted(errors, key=lambda config: -abs(errors[config]))[:count]:
        at = members[config]
        row, spread = timed.rows[at[0]], measured[at].max() / measured[at].min() - 1
        reason = [
            *_beside(row, timed.rows, errors),
            *_unsaid(row),
            *([row["quality"]] if row["quality"] else []),
            *([f"repeats differ by {100 * spread:.0f} %"] if spread > 0.1 else []),
            *([f"memory {100 * held[at[0]]:.0f} % full"] if held[at[0]] > CROWDED else []),
        ]
        if not reason:
            shares = {name: np.asarray(part)[at[0]] for name, part in predicted.breakdown.items()}
            reason = [f"most of it is {max(shares, key=lambda name: float(shares[name]))}"]
        yield {
            "what": "worst",
            "of": config,
            "error": round(errors[config] * 100, 1),
            "run": f"{row['model']}, {row['n_gpus']} {row['gpu']}, {row['dtype']}, "
            f"{row['stack']} {row['stack_release']}",
            "reason": "; ".join(reason),
        }


def _beside(
    row: Mapping[str, str], rows: Sequence[Mapping[str, str]], errors: Mapping[str, float]
) -> Iterator[str]:
    """The configuration of its group that differs least and is predicted well.

    What differs between the two has an effect on the measurement that the formulas do not have.
    """
    alike = {
        other["config_id"]: other
        for other in rows
        if other["group"] == row["group"]
        and abs(errors[other["config_id"]]) < min(0.1, abs(errors[row["config_id"]]) / 2)
    }
    apart = {
        config: [name for name in VARIED if other[name] != row[name]]
        for config, other in alike.items()
    }
    if not apart:
        yield "nothing like it in the table is predicted well"
        return
    nearest = min(apart, key=lambda config: (len(apart[config]), abs(errors[config]), config))
    other = alike[nearest]
    changes = ", ".join(
        f"{name} {other[name] or 'unsaid'} → {row[name] or 'unsaid'}" for name in apart[nearest]
    )
    times = f"{float(other['iter_time_s']):.4g} s → {float(row['iter_time_s']):.4g} s"
    yield f"beside {nearest}, within {100 * abs(errors[nearest]):.0f} %: {changes}: {times}"


def _unsaid(row: Mapping[str, str]) -> Iterator[str]:
    """What of the run its source does not say."""
    if not runs.says_recompute(row["recompute"]):
        yield "what is recomputed is not said"
    several = float(row["n_gpus"]) > float(row["gpus_per_node"] or 8)
    if several and not row["inter_net_GBps_per_gpu"]:
        yield "the network is not said"


VARIED = (  # columns that a group varies
    *("n_gpus", "tp", "pp", "vpp", "dp", "cp", "ep", "micro_batch", "global_batch", "grad_accum"),
    *("layers", "hidden", "heads", "seq_len", "sequence_parallel", "zero_note", "recompute"),
    *("dtype", "stack_release"),
)
CROWDED = 0.95  # of a chip's memory: there the allocator frees and asks again within a step


def _groups(table: Table) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Names to report apart, each with the label of every configuration."""
    for kind in ("research", "mixed", "kind", "source", "gpu"):
        labels = {row["config_id"]: _label(kind, row) for row in table.rows}
        for name in sorted(set(labels.values()) - {""}):
            yield name, labels


def _label(kind: str, row: Mapping[str, str]) -> str:
    if kind == "research":
        return "research sources" if row["source"] in CLEAN else ""
    if kind == "mixed":
        return "mixed chips" if "+" in row["gpu"] else ""
    if kind == "kind":
        low = any(word in row["dtype"].lower() for word in ("fp8", "fp4"))
        name = "mixture of experts" if row["experts"] else "dense"
        return f"{name}, {'8 or 4 bits' if low else '16 bits'}"
    return row[kind]


def page(records: Sequence[Record]) -> str:
    """The report as Markdown: one table per subject."""
    titles = {
        "time": "Step time, shipped constants, on the rows they were fitted to",
        "held out": "Step time, fitted on a random half of the groups, on the other half",
        "held out, research": "The same on the research sources",
        "one node": "Step time, shipped constants, on one-node runs that no fit has seen",
        "held out, memory": "Peak memory, fitted on a half, on the other",
        "memory": "Peak memory, shipped constants",
        "regret": "Regret",
        "worst": "The ten worst configurations",
    }
    parts = [HEAD]
    for what, title in titles.items():
        same = [record for record in records if record["what"] == what]
        columns = list(dict.fromkeys(name for record in same for name in record if name != "what"))
        parts.append(f"\n## {title}\n")
        parts.append(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
        parts += [f"| {' | '.join(str(r.get(name, '')) for name in columns)} |" for r in same]
    return "\n".join(parts) + "\n"


HEAD = """# How accurate the planner is

Written by `python -m regatta.planning.fitting`, which also fits the constants; `make test` guards
the figures. Errors are relative, in percent, of configurations: repeats of one plan (`config_id`)
are averaged first. Only `core` rows count for time. Half of the groups means: no model on that
kind of chip from that source was seen in the fit.

What rows leave open is settled in one way for all: an empty network is the chip's usual one, an
empty recomputation is the least that fits, for time and memory alike, an empty release is the
newest. A run on mixed chips goes at the pace of the kind that would be slowest alone."""
