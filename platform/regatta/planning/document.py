"""A plan with its model and its chips as one JSON document, for the program that runs by it.

`{"name", "model": {…}, "chip", "chips", "chips_per_node", "network_GBps_per_chip", "plan": {…},
"tokens"}`: `model` and `plan` hold the fields of Shape and Plan that do not stand at their
defaults, recompute and dtype as words. docs/reference/plan-document.md describes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar

from regatta.hardware.catalogue import Chip
from regatta.hardware.clusters import Cluster, read_cluster
from regatta.planning import plans
from regatta.planning.plans import DTYPES, RECOMPUTE, Plan
from regatta.planning.shapes import MOST_LAYERS, SHOWN, BadField, Shape

KEYS = ("name", "model", "chip", "chips", "chips_per_node", "network_GBps_per_chip", "plan")
WORDS = {"recompute": RECOMPUTE, "dtype": DTYPES}
MOST = 1e15  # of any number in it: sums and products stay finite
# Least and most where that is not 0 or, for a field that has to be said, 1 to MOST.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "layers": (1, MOST_LAYERS),
    "ffn_matrices": (2, 3),
    "tied_embeddings": (0, 1),
    "window_share": (0, 1),
    "etp": (1, MOST),
    "sequence_parallel": (0, 1),
    "zero_stage": (0, 3),
    "grad_bytes": (2, 4),
    "frozen": (0, 1),
}
# What need not be whole: the rest are counts. Widths are the quotients of others.
PARTIAL = ("head_dim", "v_head_dim", "shared_ffn_hidden", "window_share", "tokens")

T = TypeVar("T", Shape, Plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a document says. name: of the model, for people. tokens: of the whole training, 0
    where nobody said."""

    name: str
    shape: Shape
    cluster: Cluster
    plan: Plan
    tokens: float = 0.0


def write(planned: Planned) -> dict[str, Any]:
    """The document of a plan on chips of one kind."""
    [(chip, count)] = planned.cluster.chips
    network = planned.cluster.network_Bps_per_chip
    said: dict[str, Any] = {
        "name": planned.name,
        "model": _said(planned.shape),
        "chip": chip.name,
        "chips": count,
        "chips_per_node": planned.cluster.chips_per_node,
        "network_GBps_per_chip": None if network is None else network / 1e9,
        "plan": _said(planned.plan),
        "tokens": planned.tokens,
    }
    return {key: value for key, value in said.items() if value}


def read(document: object, chips: Mapping[str, Chip] | None = None) -> Planned:
    """What a document says, once all of it is possible.

    chips: where its chip is looked up, by default the shipped catalogue.
    Raises: BadField, BadCluster, UnknownChip.
    """
    if not isinstance(document, Mapping):
        raise BadField("plan", "a JSON object is right")
    if unknown := sorted(set(map(str, document)) - {*KEYS, "tokens"}):
        raise BadField(unknown[0], f"unknown; a document has {', '.join(KEYS)} and tokens")
    known = {"chips": {str(document.get("chip")): document.get("chips")}}
    extra = {key: document.get(key) for key in ("chips_per_node", "network_GBps_per_chip")}
    cluster = read_cluster({**known, **extra}, chips)
    shape, plan = _read(Shape, document.get("model")), _read(Plan, document.get("plan"))
    if shape.dense_layers > shape.layers:
        raise BadField("dense_layers", f"{shape.dense_layers:g} of {shape.layers:g} layers")
    plans.check(plan, shape)
    plans.check_split(plan)
    if plans.chips(plan) != cluster.size:
        raise BadField("chips", f"{cluster.size}; the plan uses {plans.chips(plan):g}")
    name = document.get("name", "")
    return Planned(
        name=name[:80] if isinstance(name, str) else "",
        shape=shape,
        cluster=cluster,
        plan=plan,
        tokens=_number("tokens", document.get("tokens", 0), least=0),
    )


def _said(record: Shape | Plan) -> dict[str, Any]:
    values = {
        one.name: float(getattr(record, one.name))
        for one in fields(record)
        if one.default is MISSING or getattr(record, one.name) != one.default
    }
    return {
        name: WORDS[name][int(value)]
        if name in WORDS
        else int(value)
        if value.is_integer()
        else value
        for name, value in values.items()
    }


def _read(kind: type[T], said: object) -> T:
    where = kind.__name__.lower()
    if not isinstance(said, Mapping):
        raise BadField(where, "an object of its fields is right")
    known = {one.name: one for one in fields(kind)}
    if unknown := sorted(set(map(str, said)) - set(known)):
        raise BadField(unknown[0], f"unknown; a {where} has {', '.join(known)}")
    values = {}
    for name, one in known.items():
        if name in said:
            values[name] = _number(name, said[name], least=one.default is MISSING)
        elif one.default is MISSING:
            raise BadField(name, "is missing; give a number")
    return kind(**values)


def _number(name: str, value: object, *, least: float) -> float:
    if name in WORDS:
        if value not in WORDS[name]:
            raise BadField(name, f"{value!r} is none of {', '.join(WORDS[name])}")
        return float(WORDS[name].index(str(value)))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadField(name, f"{value!r} is no number")
    least, most = BOUNDS.get(name, (least, MOST))
    if not least <= value <= most:
        wrong = f"{repr(value)[:SHOWN]} is out of range"
        raise BadField(name, f"{wrong}; {least:g} to {most:g} is right")
    if value % 1 and name not in PARTIAL:
        raise BadField(name, f"{value:g} is no whole number")
    return float(value)
