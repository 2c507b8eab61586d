"""`regatta plan search`: what it does, apart from its options in plan_search."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import typer

from regatta.cli.input_file import read_object
from regatta.cli.plan_search import Asked
from regatta.hardware.catalogue import GIB, NoPeak, UnknownChip
from regatta.hardware.clusters import BadCluster, Cluster, read_cluster
from regatta.planning.hf import read_model
from regatta.planning.plans import DTYPES, RECOMPUTE
from regatta.planning.search import Limits, NothingFits, Result, search, site
from regatta.planning.search_answer import as_dict
from regatta.planning.shapes import BadField, Shape
from regatta.planning.space import DEGREES

NOTHING, USAGE = 1, 2  # exit codes: no plan fits; what was asked cannot be understood


def run(asked: Asked) -> int:
    """Print the best plans on chips of one kind."""

    def answer() -> None:
        shape, found = read(asked)
        result = search(
            shape, site(found), asked.global_batch, limits=limits(asked), top=asked.top
        )
        typer.echo(as_json(as_dict(result)) if asked.as_json else _sentences(result))

    return guarded(answer, json_too=asked.as_json)


def guarded(answer: Callable[[], None], *, json_too: bool) -> int:
    """Run it and turn what is wrong into a message and an exit code."""
    try:
        answer()
    except (BadField, BadCluster, UnknownChip, NoPeak) as error:
        typer.echo(f"error: {error}", err=True)
        return USAGE
    except NothingFits as error:
        if json_too:
            typer.echo(as_json({"feasible": 0, "nearest": str(error), "plans": []}))
        typer.echo(f"error: {error}", err=True)
        return NOTHING
    return 0


def as_json(answer: dict[str, Any]) -> str:
    """The answer as scripts read it."""
    return json.dumps(answer, allow_nan=False)


def read(asked: Asked) -> tuple[Shape, Cluster]:
    """The model and the cluster of the two JSON files.

    Raises: BadField, BadCluster, UnknownChip, NoPeak, each naming the field or the file.
    """
    if asked.dtype not in DTYPES:
        raise BadField("dtype", f"{asked.dtype!r} is none of {', '.join(DTYPES)}")
    shape = read_model(read_object(asked.model), seq_len=asked.seq_len)
    found = read_cluster(read_object(asked.cluster))
    for chip, _ in found.chips:
        chip.peak("fp8" if asked.dtype == "mxfp8" else asked.dtype)
    return shape, found


def limits(asked: Asked) -> Limits:
    """What plans are allowed. Raises: BadField."""
    if not 0 <= asked.headroom < 1:
        raise BadField("headroom", f"{asked.headroom:g} is out of range; 0 to below 1 is right")
    return Limits(
        fix=fixed(asked.fix or ()),
        headroom=asked.headroom,
        dtype=float(DTYPES.index(asked.dtype)),
    )


def fixed(options: Sequence[str]) -> dict[str, list[float]]:
    """`tp=8` and `recompute=none,selective` as values by name. Raises: BadField."""
    allowed: dict[str, list[float]] = {}
    for option in options:
        name, _, values = option.partition("=")
        try:
            chosen = [
                float(RECOMPUTE.index(value)) if value in RECOMPUTE else float(value)
                for value in values.split(",")
            ]
        except ValueError:
            wrong = f"{values!r} is no number; tp=8 or recompute=none,selective is right"
            raise BadField(name or "fix", wrong) from None
        allowed[name or "fix"] = [*allowed.get(name, ()), *chosen]
    return allowed


def _sentences(result: Result) -> str:
    lines = [
        f"{result.evaluated:,} plans, {result.feasible:,} fit; searched in {result.seconds:.2f} s"
    ]
    for item in result.plans:
        degrees = " ".join(f"{name} {getattr(item.plan, name):g}" for name in DEGREES)
        lines.append(
            f"{item.iteration_s:.4g} s a step, MFU {item.mfu:.1%}, "
            f"{item.peak_bytes / GIB:.1f} GiB: {degrees}\n    {item.why}"
        )
    return "\n".join(lines)
