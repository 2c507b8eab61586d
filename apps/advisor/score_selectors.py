"""What plans foretold of jobs, what was measured, and how far apart the two are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from apps.advisor import catalogue_selectors
from apps.advisor.models import Prediction
from apps.costs import selectors as costs
from apps.insights import selectors as metrics
from apps.jobs import selectors as jobs
from apps.jobs.selectors import Outcome
from regatta.hardware.catalogue import GIB
from regatta.planning import document
from regatta.planning.document import Planned
from regatta.planning.ranking import Ranked
from regatta.planning.search import predict, site
from regatta.planning.shapes import BadField

if TYPE_CHECKING:
    from apps.accounts.models import Team

WARM_UP_STEPS = 10  # compilers, caches and clocks settle in them
SHOWN = 200
_BYTES_OF = {"peak_memory_bytes": 1.0, "peak_memory_gib": GIB}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """A job's plan with what the planner says of it."""

    planned: Planned
    item: Ranked

    @property
    def tokens_per_step(self) -> float:
        return float(self.item.plan.global_batch) * float(self.planned.shape.seq_len)

    @property
    def tokens_per_s(self) -> float:
        return self.tokens_per_step / self.item.iteration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an attempt reported and cost. steps: of which the step time is the median, those of
    the warm-up left out. None where nothing was reported, or no price is known."""

    attempt: int
    steps: int
    trained_steps: int
    iteration_s: float | None
    peak_bytes: float | None
    hours: float | None
    usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One prediction beside the truth. An error is (predicted - measured) / measured."""

    prediction: Prediction
    outcome: Outcome | None
    measured: Measured | None

    @property
    def usd(self) -> float | None:
        """What the steps that were trained should have cost."""
        row = self.prediction
        if row.usd_per_hour is None or self.measured is None:
            return None
        return float(row.usd_per_hour) * row.iteration_s * self.measured.trained_steps / 3600

    @property
    def time_error(self) -> float | None:
        seen = self.measured.iteration_s if self.measured else None
        return _error(self.prediction.iteration_s, seen)

    @property
    def memory_error(self) -> float | None:
        seen = self.measured.peak_bytes if self.measured else None
        return _error(self.prediction.peak_bytes, seen)

    @property
    def cost_error(self) -> float | None:
        spent = self.measured.usd if self.measured else None
        return _error(self.usd, None if spent is None else float(spent))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A team's record of error in step time, over `count` jobs that reported one."""

    rows: Sequence[Comparison]
    count: int
    mean: float | None
    median: float | None


def foretell(said: object, team: Team) -> Foretold:
    """What the planner says of a plan's document or of its JSON, on the team's own chips too.

    Raises: BadField and its kinds, all ValueErrors that name the field.
    """
    try:
        said = json.loads(said) if isinstance(said, str) else said
    except RecursionError:
        raise BadField("plan", "a JSON object is right") from None
    planned = document.read(said, catalogue_selectors.chips(team))
    at = site(planned.cluster)
    item = predict(planned.shape, at, planned.plan)
    if not 0 < item.iteration_s < float("inf") or not 0 < item.peak_bytes < float("inf"):
        raise BadField("plan", "its step takes no time that can be told")
    return Foretold(planned=planned, item=item)


def document_of(found: Foretold) -> dict[str, Any]:
    """The plan's document, of known fields alone."""
    return document.write(found.planned)


def measure(pairs: Iterable[tuple[Prediction, Outcome]]) -> dict[int, Measured]:
    """What attempts reported, by job, in as many queries for many as for one: `step_s`, else
    `tokens_per_s`; `peak_memory_bytes` or `_gib`."""
    all_ = list(pairs)
    ids = [outcome.attempt_id for _row, outcome in all_]
    steps = metrics.medians(ids, "step_s", warm_up=WARM_UP_STEPS)
    rates = metrics.medians(ids, "tokens_per_s", warm_up=WARM_UP_STEPS)
    told, trained = metrics.greatest(ids, _BYTES_OF), metrics.steps_told(ids)
    spent = costs.costs_usd(f"jobs.attempt:{pk}" for pk in ids)
    found = {}
    for row, outcome in all_:
        pk, began, ended = outcome.attempt_id, outcome.started_at, outcome.ended_at
        step, rate = steps.get(pk), rates.get(pk)
        peaks = [told[pk, key] * unit for key, unit in _BYTES_OF.items() if (pk, key) in told]
        took = step or rate
        found[row.job_id] = Measured(
            attempt=outcome.attempt,
            steps=took.steps if took else 0,
            trained_steps=trained.get(pk, 0),
            iteration_s=step.value if step else row.tokens_per_step / rate.value if rate else None,
            peak_bytes=max(peaks, default=None),
            hours=(ended - began).total_seconds() / 3600 if began and ended else None,
            usd=spent[f"jobs.attempt:{pk}"],
        )
    return found


def comparison(team: Team, job_id: int) -> Comparison | None:
    """A job's prediction with what is known by now; None if it runs by no plan."""
    row = Prediction.objects.filter(team=team, job_id=job_id).first()
    return _compared([row])[0] if row else None


def record(team: Team) -> Record:
    """The team's latest predictions, the newest first, and how far off they were."""
    rows = _compared(Prediction.objects.filter(team=team).order_by("-job_id")[:SHOWN])
    errors = [abs(row.time_error) for row in rows if row.time_error is not None]
    return Record(
        rows=rows,
        count=len(errors),
        mean=mean(errors) if errors else None,
        median=median(errors) if errors else None,
    )


def _compared(rows: Iterable[Prediction]) -> list[Comparison]:
    """Beside what is stored, or what can be read by now of an attempt that still reports."""
    found = list(rows)
    outcomes: Mapping[int, Outcome] = jobs.outcomes(row.job_id for row in found)
    pairs = [(row, outcomes[row.job_id]) for row in found if row.job_id in outcomes]
    read = measure((row, outcome) for row, outcome in pairs if outcome.attempt != row.attempt)
    stored = {row.job_id: _stored(row, outcome) for row, outcome in pairs}
    known = stored | read
    return [
        Comparison(
            prediction=row,
            outcome=outcomes.get(row.job_id),
            measured=known.get(row.job_id),
        )
        for row in found
    ]


def _stored(row: Prediction, outcome: Outcome) -> Measured:
    return Measured(
        attempt=outcome.attempt,
        steps=row.steps,
        trained_steps=row.trained_steps,
        iteration_s=row.measured_iteration_s,
        peak_bytes=row.measured_peak_bytes,
        hours=row.measured_hours,
        usd=row.measured_usd,
    )


def _error(predicted: float | None, measured: float | None) -> float | None:
    return None if not measured or predicted is None else (predicted - measured) / measured
