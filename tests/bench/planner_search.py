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
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from measure import tell

from regatta.hardware.catalogue import find
from regatta.hardware.clusters import read_cluster
from regatta.planning import calibration, plans, runs
from regatta.planning.mixed import Mixed, plan_mixed
from regatta.planning.search import TRAINED, Limits, Site, search, site
from regatta.planning.shapes import BadField, Shape, from_columns

TRILLION = {  # Narayanan 2021, table 1, as Calculon (Isaev 2023) searches it
    **{"layers": "128", "hidden": "25600", "heads": "160", "ffn_hidden": "102400"},
    **{"vocab": "51200", "seq_len": "2048", "gated_ffn": "0"},
}
LLAMA = {"kv_heads": "8", "vocab": "128256", "seq_len": "4096"}
LLAMA_8B = {**LLAMA, "layers": "32", "hidden": "4096", "heads": "32", "ffn_hidden": "14336"}
LLAMA_70B = {**LLAMA, "layers": "80", "hidden": "8192", "heads": "64", "ffn_hidden": "28672"}
BATCH = {100: 2048, 1000: 4096}  # sequences of 4,096 tokens: 8 and 16 million tokens a step
WHOLE = {100: 8, 1000: 64}  # chips come by the node of 8, and at 1,000 by the rack of 8 nodes
ROUNDING = 1e-9  # of sums in another order
SPEEDS = (1.3, 3.0)  # between the kinds of a mix
MIXES = [  # what was bought in two years, or from two vendors
    {"A800-80GB": 0.5, "H800-80GB": 0.5},
    {"A100-80GB": 0.4, "H100-80GB": 0.6},
    {"Ascend-910B": 0.5, "H800-80GB": 0.5},
    {"A800-80GB": 0.5, "H20-96GB": 0.5},
    {"Kunlun-P800": 0.6, "H800-80GB": 0.4},
    {"Hygon-K100-AI": 0.5, "A800-80GB": 0.5},
    {"MetaX-C500": 0.4, "MTT-S5000": 0.6},
    {"A800-80GB": 0.5, "MTT-S5000": 0.5},
    {"H20-96GB": 0.5, "MTT-S5000": 0.5},
    {"A800-80GB": 0.25, "H800-80GB": 0.5, "Ascend-910B": 0.25},
]


def main() -> None:
    for chips, limit in ((4096, 1.0), (1_048_576, 5.0)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(_trillion, (chips, limit))
    _published()
    apart = []
    for size, limit in ((100, 0.97), (1000, 0.95)):
        told = [_mix(size, shares, limit) for shares in MIXES]
        reached = sum(efficiency >= limit and inside for efficiency, inside, _ in told)
        tell(f"mixed_reached_{size}", reached, "mixes", limit=6, of=len(MIXES))
        apart += [error for *_, error in told]
    issue = {"A800-80GB": 120, "H800-80GB": 256, "Ascend-910B": 96}
    apart.append(_tell_mix(plan_mixed(_shape(LLAMA_70B), _cluster(issue), 2048), issue, 0.95)[2])
    tell("mixed_formula_against_simulator", max(apart), "share", limit=0.02)


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
    """Each published plan that ran against the best found for its model, chips and batch.

    Where it needs more memory than its chips have even with full recomputation, the best found for
    chips with just enough is compared, and told apart.
    """
    worse, unread, beyond, compared, seconds = [], Counter[str](), [], 0, 0.0
    for row in runs.published():
        if row["status"] != "ok":
            continue
        try:
            run = runs.read(row)
        except BadField as error:
            unread[str(error)] += 1
            continue
        alone = runs.predict([run])
        theirs_s = float(np.asarray(alone.iteration_s)[0])
        at = _site_of(run)
        if not np.asarray(alone.fits)[0]:
            beyond.append(row["id"])
            at = _with_room(float(np.asarray(alone.peak_bytes)[0]), at)
        like: dict[str, Any] = {name: float(getattr(run.plan, name)) for name in TRAINED}
        found = search(run.shape, at, int(run.plan.global_batch), limits=Limits(**like), top=1)
        compared, seconds = compared + 1, seconds + found.seconds
        behind = found.plans[0].iteration_s / theirs_s - 1
        if behind > ROUNDING:
            worse.append((row["id"], round(behind, 4)))
    tell(
        "search_worse_than_published",
        len(worse),
        "rows",
        limit=0,
        compared=compared,
        search_s=round(seconds, 1),
        worse=worse[:20],
        beyond_memory=len(beyond),
        beyond=beyond,
        not_searched=unread.total(),
        why=dict(unread.most_common()),
    )


def _site_of(run: runs.Run) -> Site:
    k = calibration.constants(run.chip, run.stack, run.release)
    count = int(plans.chips(run.plan))
    return Site(chip=find(run.chip), count=count, machine=run.machine, constants=k)


def _with_room(peak_bytes: float, at: Site) -> Site:
    """The site with just the memory that this peak needs there."""
    share = float(at.constants.framework_share)  # of the memory itself
    own = peak_bytes - share * float(at.machine.memory_bytes)
    enough = own / (1 - share) * (1 + ROUNDING)
    return replace(at, machine=replace(at.machine, memory_bytes=enough))


def _mix(size: int, shares: Mapping[str, float], limit: float) -> tuple[float, bool, float]:
    whole = WHOLE[size]
    chips = {name: round(share * size / whole) * whole for name, share in shares.items()}
    shape = _shape(LLAMA_8B if size == 100 else LLAMA_70B)
    return _tell_mix(plan_mixed(shape, _cluster(chips), BATCH[size]), chips, limit)


def _tell_mix(found: Mixed, chips: Mapping[str, int], limit: float) -> tuple[float, bool, float]:
    """Efficiency, whether the kinds differ in speed as asked, and formula against simulator."""
    each = [found.alone[name] / chips[name] for name in chips]
    ratio = max(each) / min(each)
    efficiency = found.simulated_efficiency or 0.0
    tell(
        "mixed_efficiency",
        efficiency,
        "share",
        limit=limit,
        chips=dict(chips),
        speeds=f"1:{ratio:.2f}",
        batch=sum(block.sequences for block in found.blocks),
        formula=round(found.efficiency or 0.0, 4),
        gain_over_uniform=found.uniform_s and round(found.uniform_s / found.simulated_s, 3),
        losses={name: round(part, 4) for name, part in found.losses.items()},
    )
    inside = SPEEDS[0] <= ratio <= SPEEDS[1]
    return efficiency, inside, abs(found.simulated_s / found.iteration_s - 1)


def _cluster(chips: Mapping[str, int]) -> Any:
    return read_cluster({"chips": dict(chips)})


def _shape(columns: Mapping[str, str]) -> Shape:
    return from_columns(columns)
