"""Endpoints about plans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils.translation import gettext as _
from ninja import Router

from apps.accounts.access import allow
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.advisor import (
    catalogue_selectors,
    plan_answers,
    plan_prices,
    plan_texts,
    score_selectors,
)
from apps.advisor.model_forms import bounded
from apps.advisor.plan_forms import Asked
from apps.advisor.schemas import PredictIn, PredictOut, SearchIn, SearchOut
from apps.http.problems import PROBLEMS, Problem, Refused
from regatta.hardware.catalogue import GIB
from regatta.hardware.clusters import read_cluster
from regatta.planning import memory
from regatta.planning.document import write
from regatta.planning.hf import known_models, read_model
from regatta.planning.plans import DTYPES, RECOMPUTE
from regatta.planning.search import Limits, NothingFits, site
from regatta.planning.search_answer import as_dict
from regatta.planning.shapes import BadField

router = Router(tags=["plans"])
_ERRORS: dict[int, type[Problem]] = {**PROBLEMS, 503: Problem}


@router.post(
    "/plans/search", auth=allow(Scope.CLUSTERS_READ), response={200: SearchOut, **_ERRORS}
)
def search_plans(request: PortalRequest, body: SearchIn) -> dict[str, Any]:
    """The fastest of all plans for a model on chips of one kind. Nothing is stored."""
    with _told():
        asked = _asked(request, body)
        try:
            result = plan_answers.find(asked, top=body.top)
        except NothingFits as error:
            said = plan_texts.nothing_fits(error, asked.cluster)
            raise Refused("nothing_fits", said) from error
    answer = as_dict(result)
    for told, item in zip(answer["plans"], result.plans, strict=True):
        told["plan"] = write(plan_answers.planned(asked, item.plan))
    return answer


@router.post(
    "/plans/predict", auth=allow(Scope.CLUSTERS_READ), response={200: PredictOut, **_ERRORS}
)
def predict_plan(request: PortalRequest, body: PredictIn) -> dict[str, Any]:
    """What a step takes by one plan. Nothing is stored."""
    with _told():
        found = score_selectors.foretell(body.plan, request.team)
    at = site(found.planned.cluster)
    held = memory.peak(found.planned.shape, found.item.plan, at.machine, at.constants)
    return {
        "iteration_s": found.item.iteration_s,
        "tokens_per_s": found.tokens_per_s,
        "mfu": found.item.mfu,
        "peak_memory_gib": found.item.peak_bytes / GIB,
        "fits": bool(held.fits),
        "breakdown": found.item.breakdown,
        "memory_breakdown_gib": {k: float(v) / GIB for k, v in held.breakdown.items()},
    }


@contextmanager
def _told() -> Iterator[None]:
    """Refuse with the field that the engine names; its errors are ValueErrors like `tp: …`."""
    try:
        yield
    except BadField as error:
        raise Refused("bad_plan", str(error), pointer=f"/{error.field}") from error
    except ValueError as error:
        field, colon, _text = str(error).partition(": ")
        pointer = f"/{field}" if colon and field.isidentifier() else ""
        raise Refused("bad_plan", str(error), pointer=pointer) from error


def _asked(request: PortalRequest, body: SearchIn) -> Asked:
    """Raises: BadField and its kinds."""
    if body.dtype not in DTYPES:
        raise BadField("dtype", f"{body.dtype!r} is none of {', '.join(DTYPES)}")
    cluster = read_cluster(
        {
            "chips": {body.chip: body.chips},
            "chips_per_node": body.chips_per_node,
            "network_GBps_per_chip": body.network_GBps_per_chip,
        },
        catalogue_selectors.chips(request.team),
    )
    [(chip, _count)] = cluster.chips
    chip.peak("fp8" if body.dtype == "mxfp8" else body.dtype)
    if isinstance(body.model, str) and body.model not in known_models():
        raise BadField("model", f"{body.model!r} is none of {', '.join(known_models())}")
    config = known_models()[body.model] if isinstance(body.model, str) else body.model
    return Asked(
        name=body.model if isinstance(body.model, str) else str(config.get("model_type", ""))[:80],
        shape=bounded(read_model(config, seq_len=body.seq_len)),
        cluster=cluster,
        global_batch=body.global_batch,
        limits=Limits(
            fix={name: _values(name, values) for name, values in body.fix.items()},
            headroom=body.headroom,
            dtype=float(DTYPES.index(body.dtype)),
        ),
        tokens=0.0,
        price=plan_prices.UNASKED,
        cluster_id=None,
    )


def _values(name: str, values: list[float | str]) -> list[float]:
    for value in values:
        if isinstance(value, str) and value not in RECOMPUTE:
            raise BadField(name, _("%(value)s is no number") % {"value": value[:40]})
    return [float(RECOMPUTE.index(v)) if isinstance(v, str) else v for v in values]
