"""Constants per chip and per software release, and how they are fitted to measured runs.

Every constant is a prior times factors of levels: the chip's generation, the chip, the software
stack, its release. Logarithms of the factors have normal priors around none, so what few runs say
is shrunk, and an unseen chip or release is predicted by the levels above it. Releases of a stack
that are near in time are alike (an Ornstein-Uhlenbeck process beside each one's own part).
Fitted by damped least squares with a robust loss. Source: Levenberg 1944, Marquardt 1963;
Huber 1964 (pseudo-Huber weights); hierarchical shrinkage, Gelman 2013, chapter 5.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regatta.planning.constants import Constants
from regatta.planning.shapes import stacked

FILE = Path(__file__).with_name("calibration.json")
NEGLIGIBLE = 1e-3  # a factor nearer to 1 is left out of the file
ROUNDS = 25  # of the fit; it has settled by then
NOISE = 0.05  # of a measured step time; repeats of one plan differ by 5.5 % (median)
FUSED_SINCE = 2023.0  # FlashAttention appeared in May 2022 and in every stack by 2023
# Megatron Core since 0.12, of May 2025: transformer/moe/experts.py, `permuted_probs`.
WEIGHED_BEFORE = 2025.25
PACE = 0.5  # years in which what two releases have in common falls to 1/e
CURRENT = ("megatron-core", "")  # assumed where a run names no software

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """constants: name to its prior, widths and meaning. factors: level key to name to factor.

    generations: name to chips. stacks: what the code of a software says, with where: whether it
    fuses attention (`fused`), repeats products in selective recomputation (`selective_products`),
    gathers parameters rank by rank (`broadcast_shards`), keeps inputs of 8-bit products in 16
    (`wide_inputs`) and copies of the weights (`weight_copies`), has no `dropout`, computes in 32
    bits unless told otherwise (`fp32`), and constants instead of priors.
    """

    constants: Mapping[str, Mapping[str, Any]]
    generations: Mapping[str, Sequence[str]]
    stacks: Mapping[str, Mapping[str, Any]]
    factors: Mapping[str, Mapping[str, float]]


@cache
def shipped() -> Calibration:
    """The calibration that comes with the product."""
    return Calibration(**json.loads(FILE.read_text(encoding="utf-8")))


def constants(
    chip: str, stack: str = "", release: str = "", calibration: Calibration | None = None
) -> Constants:
    """The constants for one chip and one software.

    chip: a name of the catalogue; one never measured has its generation's, or the prior's.
    release: a year or year-month; one never measured has those of the nearest that was.
    """
    calibration = calibration or shipped()
    keys = level_keys(chip, stack, release, calibration)
    logs = dict.fromkeys(calibration.constants, 0.0)
    for key in ("all", *keys):
        for name, factor in calibration.factors.get(key, {}).items():
            logs[name] += math.log(factor)
    values = {n: prior(n, stack, calibration) * math.exp(log) for n, log in logs.items()}
    return Constants(**values, **ways(stack, release, calibration))


def ways(stack: str, release: str, calibration: Calibration) -> dict[str, float]:
    """What the software does, 0 or 1: attention is fused since 2023 in all but a few."""
    known = calibration.stacks.get(stack or CURRENT[0], {})
    return {
        "fused_attention": float(year(release) >= FUSED_SINCE and known.get("fused", True)),
        "selective_products": float(known.get("selective_products", False)),
        "broadcast_shards": float(known.get("broadcast_shards", False)),
        "wide_inputs": float(known.get("wide_inputs", False)),
        "weight_copies": float(known.get("weight_copies", False)),
        "dropout": float(known.get("dropout", True)),
        "weighed_last": float(year(release) < WEIGHED_BEFORE),
    }


def prior(name: str, stack: str, calibration: Calibration) -> float:
    """A constant before any fit: what the software's code says of it, or what holds for all."""
    of_stack = calibration.stacks.get(stack or CURRENT[0], {}).get("constants", {})
    return float(of_stack.get(name, calibration.constants[name]["prior"]))


def year(release: str) -> float:
    """`2025-04` as 2025.25, `2025` as its middle; the far future for what is no year."""
    found = re.match(r"(20\d\d)(?:-(\d\d))?", release)
    if not found:
        return math.inf
    month = found[2]
    return float(found[1]) + ((float(month) - 1) / 12 if month else 0.5)


def level_keys(
    chip: str, stack: str, release: str, calibration: Calibration
) -> tuple[str, str, str, str]:
    """The four levels whose factors apply, from the chip's generation to the release."""
    if not stack:
        stack, release = CURRENT
    generation = next((g for g, chips in calibration.generations.items() if chip in chips), "")
    start = f"release:{stack}/"
    known = [key.removeprefix(start) for key in calibration.factors if key.startswith(start)]
    if known and release not in known:
        at = min(year(release), 9999.0)
        release = min(known, key=lambda other: (abs(year(other) - at), other))
    return (
        f"generation:{generation}",
        f"chip:{chip}",
        f"stack:{stack}",
        f"release:{stack}/{release}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured run to fit to: who ran it, how much it counts, how long a step took."""

    chip: str
    stack: str
    release: str
    weight: float
    measured: float


def fit(
    start: Calibration,
    samples: Sequence[Sample],
    predict: Callable[[Constants], Matrix],
    of: str,
) -> Calibration:
    """The factors under which `predict` (constants of all samples to their values) fits best.

    Errors count by their logarithm in units of NOISE, large ones linearly (pseudo-Huber).
    of: which constants may move, those of `time` or of `memory`; the others' factors stay.
    """
    names = list(start.constants)
    moved = [i for i, name in enumerate(names) if start.constants[name]["of"] == of]
    columns, precision, design = _design(replace(start, factors={}), samples, of)
    priors = np.log([[prior(name, s.stack, start) for s in samples] for name in names])
    does = [ways(s.stack, s.release, start) for s in samples]
    done = {name: np.array([way[name] for way in does]) for name in does[0]}
    target = np.log([s.measured for s in samples])
    weight = np.array([s.weight for s in samples])

    def errors(logs: Matrix) -> Matrix:
        values = dict(zip(names, np.exp(logs), strict=True))
        return (np.log(predict(Constants(**values, **done))) - target) / NOISE

    def spread(theta: Matrix) -> Matrix:
        return np.array([priors[i] + d @ theta for i, d in enumerate(design)])

    theta, damping = np.zeros(len(columns)), 1e-2
    error = errors(spread(theta))
    for _ in range(ROUNDS):
        logs = spread(theta)
        jacobian = np.zeros((len(samples), len(columns)))
        for i in moved:  # one evaluation per constant serves all its levels
            nudged = logs.copy()
            nudged[i] += 1e-4
            jacobian += ((errors(nudged) - error) / 1e-4)[:, None] * design[i]
        robust = weight / np.sqrt(1 + error**2)
        normal = jacobian.T @ (robust[:, None] * jacobian) + precision
        slope = jacobian.T @ (robust * error) + precision @ theta
        best = _loss(error, weight, theta, precision)
        for _attempt in range(8):
            move = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), slope)
            tried = errors(spread(theta - move))
            if _loss(tried, weight, theta - move, precision) < best:
                theta, error, damping = theta - move, tried, damping / 4
                break
            damping *= 4
        if best - _loss(error, weight, theta, precision) < 1e-4 * best:
            break
    stay = {
        key: {n: f for n, f in of_key.items() if n not in {names[i] for i in moved}}
        for key, of_key in start.factors.items()
    }
    for (key, name), value in zip(columns, np.exp(theta), strict=True):
        at = stay.setdefault(key, {})  # also where it stays empty: a release must be known
        if abs(value - 1) > NEGLIGIBLE:
            at[name] = round(float(value), 4)
    return replace(start, factors={key: stay[key] for key in sorted(stay)})


def _loss(error: Matrix, weight: Matrix, theta: Matrix, precision: Matrix) -> float:
    robust = 2 * (np.sqrt(1 + error**2) - 1)
    return float(weight @ robust + theta @ precision @ theta)


def _design(
    calibration: Calibration, samples: Sequence[Sample], of: str
) -> tuple[list[tuple[str, str]], Matrix, list[Matrix]]:
    """Columns (level key, constant), the inverse of their prior covariance, and 0/1 rows of each.

    The rows are per constant: which of its columns apply to which sample.
    """
    keys = [("all", *level_keys(s.chip, s.stack, s.release, calibration)) for s in samples]
    known = sorted({key for row in keys for key in row if not key.endswith((":", "/"))})
    columns, blocks = [], []
    for name, about in calibration.constants.items():
        widths = {"all": about["sd"], **about["levels"]} if about["of"] == of else {}
        of_name = [key for key in known if key.partition(":")[0] in widths]
        columns += [(key, name) for key in of_name]
        blocks.append(_covariance(of_name, widths))
    precision = np.zeros((len(columns), len(columns)))
    start = 0
    for block in blocks:
        at = slice(start, start := start + len(block))
        precision[at, at] = np.linalg.inv(block)
    design = []
    for name in calibration.constants:
        matrix = np.zeros((len(samples), len(columns)))
        for j, (key, of) in enumerate(columns):
            if of == name:
                matrix[:, j] = [key in row for row in keys]
        design.append(matrix)
    return columns, precision, design


def _covariance(keys: Sequence[str], widths: Mapping[str, float]) -> Matrix:
    """Of the factors' logarithms: widths squared, and what near releases of a stack share."""
    covariance = np.diag([widths[key.partition(":")[0]] ** 2 for key in keys])
    releases = [i for i, key in enumerate(keys) if key.startswith("release:")]
    for i, j in product(releases, repeat=2):
        (one, at), (other, then) = (keys[n].split("/", 1) for n in (i, j))
        if one == other:
            apart = abs(min(year(at), 9999) - min(year(then), 9999))
            covariance[i, j] += widths["year"] ** 2 * math.exp(-apart / PACE)
    return covariance


def many(items: Iterable[Constants]) -> Constants:
    """Constants of many runs as one record of arrays."""
    return stacked(list(items))
