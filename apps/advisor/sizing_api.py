"""Endpoints about sizing and mixed clusters: the forms of the pages, asked by JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Router, Status

from apps.accounts.access import allow
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.advisor import catalogue_selectors, search_services, sizing_answers, sizing_texts
from apps.advisor.mixed_forms import MixedForm
from apps.advisor.model_forms import OWN_MODEL, ModelForm
from apps.advisor.search_services import Progress
from apps.advisor.sizing_forms import SAMPLES, TOKENS, SizeForm, shown
from apps.advisor.sizing_schemas import MixedIn, MixedOut, SearchingOut, SizeIn, SizeOut
from apps.http.problems import PROBLEMS, Problem, Refused
from regatta.hardware.catalogue import NoPeak, UnknownChip, find
from regatta.planning.shapes import BadField
from regatta.planning.sizing import NoPlan

if TYPE_CHECKING:
    from apps.accounts.models import Team

T = TypeVar("T")

router = Router(tags=["plans"])
_ERRORS: dict[int, type[Problem]] = {**PROBLEMS, 503: Problem}
_NAMES = {
    **{"tokens_b": "tokens", "itl_ms": "itl_s", "storage_gbps": "storage_GBps"},
    **{"prices": "chips", "config": "model"},
}


@router.post(
    "/plans/size",
    auth=allow(Scope.CLUSTERS_READ),
    response={200: SizeOut, 202: SearchingOut, **_ERRORS},
)
def size_plans(request: PortalRequest, body: SizeIn, response: HttpResponse) -> Any:
    """Which chips, how many, by when and for how much. 202 while plans are searched: ask again."""
    terms = {name: shown(name, value) for name, value in body.own_terms.items()}
    told = body.dict(exclude={"model", "tokens", "itl_s", "chips", "own_terms", "quantizations"})
    data = terms | told | _model(body.model)
    chips = _named(body.chips, request.team)
    data |= {
        "goal": TOKENS if body.samples is None else SAMPLES,
        "tokens_b": None if body.tokens is None else body.tokens / 1e9,
        "storage_gbps": body.storage_GBps,
        "itl_ms": None if body.itl_s is None else body.itl_s * 1000,
        "quantization": body.quantizations,
        "chips": list(chips),
        "prices": ",".join(f"{k}={v!r}" for k, v in chips.items() if v is not None),
    }
    form = SizeForm(data, team=request.team)
    _check(form, known=set(form.fields) | {"model"}, given=terms)
    try:
        found = sizing_answers.find(form.asked(), actor=request.actor)
    except NoPlan as error:
        raise Refused("no_plan", sizing_texts.no_plan(error) or str(error)) from error
    except (BadField, NoPeak) as error:
        raise Refused("invalid_request", str(error)) from error
    if isinstance(found, Progress):
        return _searching(found, response)
    return Status(200, sizing_answers.told(form.asked(), found))


@router.post(
    "/plans/mixed",
    auth=allow(Scope.CLUSTERS_READ),
    response={200: MixedOut, 202: SearchingOut, **_ERRORS},
)
def plan_mixed(request: PortalRequest, body: MixedIn, response: HttpResponse) -> Any:
    """The best plan over chips of several kinds. 202 while it is searched: ask again."""
    data = body.dict(include={"seq_len", "global_batch", "dtype"}) | _model(body.model)
    data["network_gbps"] = body.network_GBps_per_chip
    for n, (name, count) in enumerate(_named(body.chips, request.team).items(), start=1):
        data |= {f"chip{n}": name, f"count{n}": count}
    form = MixedForm(data, team=request.team)
    _check(form, known=set(form.fields), given={})
    [row] = search_services.ask([form.asked().search], actor=request.actor)
    if row.found is None:
        return _searching(search_services.progress([row]), response)
    if "wrong" in row.found:
        raise Refused("no_plan", row.found["wrong"])
    return Status(200, row.found)


def _model(model: Mapping[str, Any] | str) -> dict[str, Any]:
    if isinstance(model, str):
        return {"model": model}
    return {"model": OWN_MODEL, "config": json.dumps(model)}


def _named(chips: Mapping[str, T], team: Team) -> dict[str, T]:
    """By the names of the catalogue. Raises: Refused for one unknown, or named twice."""
    known = catalogue_selectors.chips(team)
    try:
        named = {find(name, known).name: value for name, value in chips.items()}
    except UnknownChip as error:
        raise Refused("invalid_request", str(error), pointer="/chips") from None
    if len(named) < len(chips):
        raise Refused("invalid_request", _("chips: two names are of one chip"), pointer="/chips")
    return named


def _check(form: ModelForm, *, known: set[str], given: Mapping[str, Any]) -> None:
    """Raises: Refused with the first field that is wrong, by its name in the API."""
    if unknown := sorted(set(given) - known):
        raise Refused("invalid_request", f"own_terms: {unknown[0]}", pointer="/own_terms")
    if not form.is_valid():
        name, [first, *_rest] = next(iter(form.errors.items()))
        field = _NAMES.get(name, "chips" if name.startswith(("chip", "count")) else name)
        at = "" if field == "__all__" else f"/{field}"
        raise Refused("invalid_request", f"{field}: {first}" if at else str(first), pointer=at)


def _searching(progress: Progress, response: HttpResponse) -> Status[Progress]:
    response["Retry-After"] = str(max(1, min(10, round(progress.left_s or 2))))
    return Status(202, progress)
