"""What a search of plans computes, from what was asked to what was found, both as JSON. Pure.

`asked` holds everything that the answer depends on, the planner's code and constants by their
digest, and nothing of any team.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

from regatta import planning
from regatta.hardware.catalogue import Chip, NoPeak, overlaid
from regatta.hardware.clusters import Cluster
from regatta.planning.mixed import block_schedule, plan_mixed
from regatta.planning.mixed_answer import as_dict
from regatta.planning.plans import DTYPES, Plan
from regatta.planning.ranking import Ranked
from regatta.planning.search import Limits, NothingFits
from regatta.planning.shapes import BadField, Shape
from regatta.planning.sizing import Offer, Searched, Training, counts, searched

Asked = dict[str, Any]

_DRAWN = 800  # operations of a schedule's picture
_SIZES, _MIXED = "sizes", "mixed"
_NOT_READ = frozenset({"mtbf_h", "tdp_w", "price_usd_per_hour", "purchase_usd"})  # by a search


def sizes(request: Training, offer: Offer) -> Asked:
    """The best plan by count of one kind of chip; tokens, failures, prices and dates are not
    among it."""
    return {
        "kind": _SIZES,
        "planner": planner(),
        "chip": offer.chip.name,
        "figures": _figures(offer.chip),
        "counts": sorted(counts(offer)),
        "shape": _shape(request.shape),
        "global_batch": request.global_batch,
        "dtype": request.dtype,
        "frozen": request.frozen,
    }


def mixed(shape: Shape, cluster: Cluster, *, global_batch: int, dtype: str) -> Asked:
    """The best plan over chips of several kinds."""
    return {
        "kind": _MIXED,
        "planner": planner(),
        "chips": [[chip.name, count, _figures(chip)] for chip, count in cluster.chips],
        "chips_per_node": cluster.chips_per_node,
        "network_Bps_per_chip": cluster.network_Bps_per_chip,
        "shape": _shape(shape),
        "global_batch": global_batch,
        "dtype": dtype,
    }


@cache
def planner() -> str:
    """The digest of the code and constants that answer; what others found is asked for anew."""
    files = [Path(__file__), *Path(planning.__file__).parent.glob("*.*")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def key(asked: Asked) -> str:
    """The name under which the answer is kept."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def done(asked: Asked) -> dict[str, Any]:
    """Do the search. It takes seconds of a core."""
    return _mixed(asked) if asked["kind"] == _MIXED else _sizes(asked)


def failed(asked: Asked, why: str) -> dict[str, Any]:
    """In place of an answer, of a search that came to none."""
    told = f"search: {why}; other chips, numbers or figures may do, and the log says more"
    if asked["kind"] == _MIXED:
        return {"failed": True, "field": "", "wrong": told}
    return {"failed": True, "best": [], "lack": None, "miss": told}


def found(told: Mapping[str, Any]) -> Searched:
    """What a search of sizes has found."""
    return Searched(
        best=tuple((count, _ranked(item)) for count, item in told["best"]),
        lack=inf if told["lack"] is None else told["lack"],
        miss=told["miss"],
    )


def _sizes(asked: Asked) -> dict[str, Any]:
    request = Training(
        shape=Shape(**asked["shape"]),
        tokens=1.0,  # a search takes the same for any
        global_batch=asked["global_batch"],
        dtype=asked["dtype"],
        frozen=asked["frozen"],
    )
    chip = _chip(asked["chip"], asked["figures"])
    result = searched(request, Offer(chip=chip, counts=tuple(asked["counts"])))
    return {
        "best": [[count, asdict(item)] for count, item in result.best],
        "lack": None if result.lack == inf else result.lack,
        "miss": result.miss,
    }


def _mixed(asked: Asked) -> dict[str, Any]:
    cluster = Cluster(
        chips=tuple((_chip(name, figures), count) for name, count, figures in asked["chips"]),
        chips_per_node=asked["chips_per_node"],
        network_Bps_per_chip=asked["network_Bps_per_chip"],
    )
    limits = Limits(dtype=float(DTYPES.index(asked["dtype"])))
    begun = perf_counter()
    shape = Shape(**asked["shape"])
    try:
        plan = plan_mixed(shape, cluster, asked["global_batch"], limits)
    except BadField as error:
        return {"field": error.field, "wrong": str(error)}
    except (NothingFits, NoPeak) as error:
        return {"field": "", "wrong": str(error)}
    drawn = [block_schedule(shape, block, _DRAWN) for block in plan.blocks]
    told = as_dict(plan, perf_counter() - begun)
    return told | {"schedules": [asdict(one) for one in drawn]}


def _shape(shape: Shape) -> dict[str, float]:
    return {name: float(value) for name, value in asdict(shape).items()}


def _figures(chip: Chip) -> dict[str, float]:
    figures = sorted(chip.figures.items())
    return {name: one.value for name, one in figures if name not in _NOT_READ}


def _chip(name: str, figures: Mapping[str, float]) -> Chip:
    identity = dict.fromkeys(("vendor", "form_factor", "aliases", "note"), "")
    about = {"chip": name, "year": "0", "quality": "assumed", "source": "as asked"}
    needed = {**figures, "mtbf_h": 1.0}  # by a chip, whatever it is
    rows = [about | {"figure": one, "value": repr(value)} for one, value in needed.items()]
    return overlaid({}, [identity | {"chip": name}], rows)[name]


def _ranked(item: Mapping[str, Any]) -> Ranked:
    return Ranked(**{**item, "plan": Plan(**item["plan"])})
