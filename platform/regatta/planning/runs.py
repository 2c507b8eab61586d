"""Training runs as rows of a table: reading them, and predicting what they take.

Only the columns of REQUIRED and OPTIONAL are read for a prediction: never an id, a source, a
group, a name of a model or a note.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from regatta.hardware.catalogue import NoPeak, UnknownChip, find
from regatta.planning import calibration, memory, plans, shapes, step
from regatta.planning.calibration import Calibration
from regatta.planning.constants import Constants
from regatta.planning.machines import Machine, machine
from regatta.planning.plans import Plan
from regatta.planning.shapes import BadField, Real, Shape, number, stacked

DATA = Path(__file__).parent / "data"
REQUIRED = (
    *("id", "layers", "hidden", "heads", "ffn_hidden", "vocab", "seq_len"),
    *("gpu", "n_gpus", "micro_batch", "global_batch"),
)
OPTIONAL = (
    *("kv_heads", "head_dim", "gated_ffn", "experts", "top_k", "moe_ffn_hidden"),
    *("shared_experts", "params_B", "tp", "pp", "vpp", "dp", "cp", "ep", "etp"),
    *("sequence_parallel", "zero_stage", "zero_note", "recompute", "dtype", "task"),
    *(
        "grad_accum",
        "gpus_per_node",
        "inter_node_net",
        "inter_net_GBps_per_gpu",
        "stack",
        "stack_release",
    ),
)
NOT_READ = "(not read)"  # ends what a table assumes and no source says
FAST = ("ib", "infiniband", "connectx", "roce", "rdma", "slingshot", "gb", "gbit")
ETHERNET_GBPS = 0.125  # of a port that nobody says to be faster than 1 Gb/s
STATED = ("none", "full", "selective")  # other words leave open what is recomputed


class MissingColumns(ValueError):
    """A table without columns that a prediction needs."""

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__(f"missing columns: {', '.join(columns)}")
        self.columns = columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row: what was trained, how, on what. open_recompute: 1 where the row does not say.

    chip, machine: of the kind that sets the pace, where a cluster has several.
    """

    shape: Shape
    plan: Plan
    machine: Machine
    chip: str
    stack: str
    release: str
    open_recompute: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Arrays over runs. mfu: of the dense 16-bit peak; parts in seconds and in bytes."""

    iteration_s: Real
    model_flops_per_s: Real
    mfu: Real
    peak_bytes: Real
    fits: Real
    breakdown: dict[str, Real]
    memory_breakdown: dict[str, Real]


def rows(lines: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a CSV table. Raises: MissingColumns naming all that are missing."""
    reader = csv.DictReader(lines)
    if missing := [name for name in REQUIRED if name not in (reader.fieldnames or ())]:
        raise MissingColumns(missing)
    return list(reader)


def published(name: str = "published_runs") -> list[dict[str, str]]:
    """The shipped rows of measured runs; the README beside them says where they are from.

    name: `published_runs`, which calibrate, or `one_node_runs`, which only test.
    """
    with gzip.open(DATA / f"{name}.csv.gz", "rt", encoding="utf-8") as lines:
        return rows(lines)


def read(row: Mapping[str, str]) -> Run:
    """The run that a row describes.

    Raises: BadField naming the field that is missing, impossible or unknown.
    """
    shape, plan = shapes.from_columns(row), plans.from_columns(row)
    plans.check(plan, shape)
    stack, dtype = ((row.get(name) or "").strip() for name in ("stack", "dtype"))
    known = calibration.shipped().stacks.get(stack, {})
    if known.get("fp32") and (not dtype or NOT_READ in dtype):
        plan = replace(plan, dtype=plans.FP32, grad_bytes=4.0)
    release = (row.get("stack_release") or "").strip()
    chip, here = _slowest(row, shape, plan, stack, release)
    return Run(
        shape=shape,
        plan=plan,
        machine=here,
        chip=chip,
        stack=stack,
        release=release,
        open_recompute=float(not says_recompute(row.get("recompute") or "")),
    )


def says_recompute(text: str) -> bool:
    """Whether a row says what is recomputed: one of STATED, `full …`, or modules by name."""
    words = text.lower().split()
    return words[:1] == ["full"] or "modules=[" in text or (len(words) == 1 and words[0] in STATED)


def _slowest(
    row: Mapping[str, str], shape: Shape, plan: Plan, stack: str, release: str
) -> tuple[str, Machine]:
    """The chip that sets the pace, and its machine with the least memory of any kind there is.

    `A+B` in the column of the chip is a cluster of both: each of its nodes has one kind, so none
    spans more chips than a kind has. Every micro-batch and every sum of gradients then waits for
    the kind that would be slowest alone; with many micro-batches nothing else counts.
    """
    names = [name.strip() for name in (row.get("gpu") or "").split("+")]
    node = number(row, "gpus_per_node", default=0)
    network = number(row, "inter_net_GBps_per_gpu", default=_said_GBps(row, node)) * 1e9
    if len(names) > 1:
        node = min(node or np.inf, number(row, "n_gpus") // len(names))
    try:
        kinds = {
            chip.name: machine(chip, chips_per_node=node or None, network_Bps=network or None)
            for chip in map(find, names)
        }
    except (UnknownChip, NoPeak) as error:
        raise BadField("gpu", str(error)) from None

    def alone_s(chip: str) -> float:
        k = calibration.constants(chip, stack, release)
        return float(step.step(shape, plan, kinds[chip], k).iteration_s)

    slowest = max(kinds, key=alone_s) if len(kinds) > 1 else next(iter(kinds))
    least = min(float(kind.memory_bytes) for kind in kinds.values())
    return slowest, replace(kinds[slowest], memory_bytes=least)


def _said_GBps(row: Mapping[str, str], node: float) -> float:
    """Of one chip, where a network is called Ethernet and nothing more: one port of a node."""
    words = (row.get("inter_node_net") or "").lower()
    plain = "ethernet" in words and not any(word in words for word in FAST)
    return ETHERNET_GBPS / (node or 8) if plain else 0.0


def predict(runs: Sequence[Run], constants: Calibration | None = None) -> Predicted:
    """What each run takes, all in one pass over arrays. At least one run."""
    shape, plan, here, k = settled(runs, constants)
    times = step.step(shape, plan, here, k)
    held = memory.peak(shape, plan, here, k)
    rate = shapes.step_flops(shape, plan.global_batch) / times.iteration_s / plans.chips(plan)
    return Predicted(
        iteration_s=times.iteration_s,
        model_flops_per_s=rate,
        mfu=rate / here.peak_16_flops,
        peak_bytes=held.total_bytes,
        fits=held.fits,
        breakdown=times.breakdown,
        memory_breakdown=held.breakdown,
    )


def settled(
    runs: Sequence[Run], constants: Calibration | None = None
) -> tuple[Shape, Plan, Machine, Constants]:
    """The runs as arrays. What leaves recomputation open has the least that fits, or full."""
    k = calibration.many(
        calibration.constants(run.chip, run.stack, run.release, constants) for run in runs
    )
    shape = stacked([run.shape for run in runs])
    plan = stacked([run.plan for run in runs])
    here = stacked([run.machine for run in runs])
    is_open = np.array([run.open_recompute for run in runs]) > 0
    for least in (plans.SELECTIVE, plans.FULL):
        lacks = is_open & (np.asarray(memory.peak(shape, plan, here, k).fits) == 0)
        plan = replace(plan, recompute=np.maximum(plan.recompute, np.where(lacks, least, 0.0)))
    return shape, plan, here, k
