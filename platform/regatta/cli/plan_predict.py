"""`regatta plan predict`: one line per row of a table of runs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from regatta.cli.input_file import read_text
from regatta.hardware.catalogue import GIB
from regatta.planning import runs as table
from regatta.planning.shapes import BadField

USAGE = 2


def run(runs: Path, *, as_json: bool) -> int:
    """Print a prediction per row, in the order of the table.

    A row that cannot be read has its field and the reason instead; the others are predicted.
    Exit code 2 where the table cannot be read, lacks columns, or no row can be predicted.
    """
    try:
        rows = table.rows(_lines(runs))
        if not rows:
            raise ValueError("no rows; one line per run is right")
    except BadField as error:  # it names the file
        typer.echo(str(error), err=True)
        return USAGE
    except (csv.Error, ValueError) as error:
        typer.echo(f"{runs}: {error}", err=True)
        return USAGE
    answers = list(_answers(rows))
    for answer in answers:
        typer.echo(json.dumps(answer, allow_nan=False) if as_json else _sentence(answer))
    return USAGE if all("error" in answer for answer in answers) else 0


def _lines(path: Path) -> Sequence[str]:
    if str(path) == "-":
        return sys.stdin.read().splitlines()
    return read_text(path).splitlines()


def _answers(rows: Sequence[Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    read: list[table.Run | BadField] = []
    for row in rows:
        try:
            read.append(table.read(row))
        except BadField as error:
            read.append(error)
    good = [item for item in read if isinstance(item, table.Run)]
    predicted = iter(_lines_of(table.predict(good)) if good else ())
    for row, item in zip(rows, read, strict=True):
        if isinstance(item, BadField):
            yield {"id": row.get("id"), "error": str(item), "field": item.field}
        else:
            yield {"id": row.get("id"), **next(predicted)}


def _lines_of(predicted: table.Predicted) -> Iterator[dict[str, Any]]:
    for i in range(len(np.atleast_1d(predicted.iteration_s))):
        yield {
            "iteration_s": _at(predicted.iteration_s, i),
            "model_tflops_per_gpu": _at(predicted.model_flops_per_s, i) / 1e12,
            "mfu": _at(predicted.mfu, i),
            "peak_memory_gib": _at(predicted.peak_bytes, i) / GIB,
            "fits": bool(_at(predicted.fits, i)),
            "breakdown": {name: _at(part, i) for name, part in predicted.breakdown.items()},
            "memory_gib": {
                name: _at(part, i) / GIB for name, part in predicted.memory_breakdown.items()
            },
        }


def _at(values: Any, index: int) -> float:
    return float(np.atleast_1d(values)[index])


def _sentence(answer: Mapping[str, Any]) -> str:
    if "error" in answer:
        return f"{answer['id']}: {answer['error']}"
    fits = "fits" if answer["fits"] else "does not fit"
    return (
        f"{answer['id']}: {answer['iteration_s']:.4g} s a step, "
        f"{answer['model_tflops_per_gpu']:.0f} TFLOP/s a chip, "
        f"{answer['peak_memory_gib']:.1f} GiB at the peak, {fits}"
    )
