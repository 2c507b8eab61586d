"""The part of `bench_planner` about the search and its plans for mixed chips.

Search: one trillion parameters on 4,096 A100 and on 1,048,576, time and memory of a process of
its own; and against every published plan under the same model. Mixed: efficiency by the simulator
for mixes whose kinds differ in speed by 1.3 to 3, against the best plan that treats all alike.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Mapping
from typing import Any

from measure import tell

from regatta.hardware.catalogue import find
from regatta.hardware.clusters import read_cluster
from regatta.planning import calibration, memory, plans, runs, step
from regatta.planning.mixed import Mixed, plan_mixed
from regatta.planning.search import TRAINED, Limits, NothingFits, Site, search, site
from regatta.planning.shapes import BadField, Shape, from_columns

TRILLION = {  # Narayanan 2021, table 1, as Calculon (Isaev 2023) searches it
    **{"layers": "128", "hidden": "25600", "heads": "160", "ffn_hidden": "102400"},
    **{"vocab": "51200", "seq_len": "2048", "gated_ffn": "0"},
}
LLAMA = {"kv_heads": "8", "vocab": "128256", "seq_len": "4096"}
LLAMA_8B = {**LLAMA, "layers": "32", "hidden": "4096", "heads": "32", "ffn_hidden": "14336"}
LLAMA_70B = {**LLAMA, "layers": "80", "hidden": "8192", "heads": "64", "ffn_hidden": "28672"}
BATCH = {100: 2048, 1000: 4096}  # sequences of 4,096 tokens: 8 and 16 million tokens a step
MIXES = [
    {"A800-80GB": 0.5, "H800-80GB": 0.5},
    {"A100-80GB": 0.4, "H100-80GB": 0.6},
    {"Ascend-910B": 0.5, "H800-80GB": 0.5},
    {"A800-80GB": 0.5, "H20-96GB": 0.5},
    {"Kunlun-P800": 0.6, "H800-80GB": 0.4},
    {"Hygon-K100-AI": 0.5, "A800-80GB": 0.5},
    {"MetaX-C500": 0.4, "MTT-S5000": 0.6},
    {"A800-80GB": 0.25, "H800-80GB": 0.5, "Ascend-910B": 0.25},
]


def main() -> None:
    for chips, limit in ((4096, 1.0), (1_048_576, 5.0)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(_trillion, (chips, limit))
    _published()
    errors = []
    for size in (100, 1000):
        for shares in MIXES:
            errors.append(_mix(size, shares))
    issue = {"A800-80GB": 120, "H800-80GB": 256, "Ascend-910B": 96}
    errors.append(_tell_mix(plan_mixed(_shape(LLAMA_70B), _cluster(issue), 2048), issue, 2048))
    tell("mixed_formula_against_simulator", max(errors), "share", limit=0.02)


def _trillion(chips: int, limit: float) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    description = {"chips": {"A100-80GB": chips}, "chips_per_node": 8, "network_GBps_per_chip": 25}
    at = site(read_cluster(description))
    cpu = time.process_time()
    found = search(_shape(TRILLION), at, 4096)
    best = found.plans[0]
    tell(
        f"search_1T_{chips}",
        found.seconds,
        "s",
        limit=limit,
        cpu_s=round(time.process_time() - cpu, 3),
        memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        evaluated=found.evaluated,
        feasible=found.feasible,
        timed=found.timed,
        best_s=round(best.iteration_s, 2),
        mfu=round(best.mfu, 4),
    )


def _published() -> None:
    """Each published plan against the best that is found for its model, chips and batch."""
    compared, worse, outside, seconds = 0, [], [], 0.0
    for row in runs.published():
        if row.get("core") not in {"1", None} or row.get("status", "ok") != "ok":
            continue
        try:
            run = runs.read(row)
            chips, batch = int(plans.chips(run.plan)), int(run.plan.global_batch)
            at = _site_of(run, chips)
            theirs = float(step.step(run.shape, run.plan, at.machine, at.constants).iteration_s)
            alike = Limits(**{name: float(getattr(run.plan, name)) for name in TRAINED})
            found = search(run.shape, at, batch, limits=alike, top=1)
        except (BadField, NothingFits) as error:
            outside.append((row["id"], str(error)[:60]))
            continue
        compared, seconds = compared + 1, seconds + found.seconds
        fits = memory.peak(run.shape, run.plan, at.machine, at.constants).fits
        if theirs < found.plans[0].iteration_s * (1 - 1e-9) and fits:
            worse.append((row["id"], round(found.plans[0].iteration_s / theirs - 1, 4)))
    tell(
        "search_worse_than_published",
        len(worse),
        "rows",
        limit=0,
        compared=compared,
        search_s=round(seconds, 1),
        worse=worse[:20],
        not_searched=len(outside),
        why=sorted({why for _, why in outside})[:5],
    )


def _site_of(run: runs.Run, chips: int) -> Site:
    k = calibration.constants(run.chip, run.stack, run.release)
    chip = find(run.chip)
    return Site(chip=chip, count=chips, machine=run.machine, constants=k)


def _mix(size: int, shares: Mapping[str, float]) -> float:
    nodes = 16 if size == 100 else 64  # counts that kinds alone can use well, too
    chips = {name: round(share * size / nodes) * nodes for name, share in shares.items()}
    shape = _shape(LLAMA_8B if size == 100 else LLAMA_70B)
    return _tell_mix(plan_mixed(shape, _cluster(chips), BATCH[size]), chips, BATCH[size])


def _tell_mix(found: Mixed, chips: Mapping[str, int], batch: int) -> float:
    count = sum(chips.values())
    each = [found.alone[name] / chips[name] for name in chips]
    tell(
        "mixed_efficiency",
        found.simulated_efficiency or 0.0,
        "share",
        limit=0.97 if count < 200 else 0.95,
        chips=dict(chips),
        speeds=f"1:{max(each) / min(each):.2f}",
        batch=batch,
        formula=round(found.efficiency or 0.0, 4),
        gain_over_uniform=found.uniform_s and round(found.uniform_s / found.simulated_s, 3),
        losses={name: round(part, 4) for name, part in found.losses.items()},
    )
    return abs(found.simulated_s / found.iteration_s - 1)


def _cluster(chips: Mapping[str, int]) -> Any:
    return read_cluster({"chips": dict(chips)})


def _shape(columns: Mapping[str, str]) -> Shape:
    return from_columns(columns)
