"""Endpoints about chips: the shipped ones, and what a team knows better."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from ninja import Router, Status
from ninja.decorators import decorate_view

from apps.accounts.access import allow
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.advisor import catalogue_selectors, catalogue_services
from apps.advisor.catalogue_schemas import (
    ChipDetailOut,
    ChipIn,
    ChipOut,
    FigureIn,
    OwnFigureOut,
)
from apps.advisor.catalogue_selectors import Known
from apps.advisor.catalogue_services import Given
from apps.advisor.models import ChipFigure, TeamChip
from apps.http.idempotency import idempotent
from apps.http.problems import PROBLEMS
from regatta.hardware.catalogue import Chip

router = Router(tags=["chips"])


@router.get("/chips", auth=allow(Scope.CLUSTERS_READ), response={200: list[ChipOut], **PROBLEMS})
def list_chips(request: PortalRequest) -> list[dict[str, Any]]:
    """Every chip that the team may plan with, each figure with its source."""
    known = catalogue_selectors.known(request.team)
    return [_chip(chip, known) for chip in known.chips.values()]


@router.post("/chips", auth=allow(Scope.COST_WRITE), response={201: ChipDetailOut, **PROBLEMS})
@decorate_view(idempotent)
def add_chip(request: PortalRequest, body: ChipIn) -> Status[dict[str, Any]]:
    """A chip of the team's own, with at least the figures that every chip has."""
    told = body.dict(exclude={"figures"})
    given = [Given(**one.dict()) for one in body.figures]
    catalogue_services.add_chip(team=request.team, figures=given, actor=request.actor, **told)
    return Status(201, _detail(request, body.name))


@router.get(
    "/chips/{str:name}",
    auth=allow(Scope.CLUSTERS_READ),
    response={200: ChipDetailOut, **PROBLEMS},
)
def get_chip(request: PortalRequest, name: str) -> dict[str, Any]:
    """One chip, and what the team has set of it over time."""
    return _detail(request, name)


@router.delete("/chips/{str:name}", auth=allow(Scope.COST_WRITE), response={204: None, **PROBLEMS})
def remove_chip(request: PortalRequest, name: str) -> Status[None]:
    """Take a chip of the team's own out of the catalogue."""
    try:
        catalogue_services.remove_chip(team=request.team, name=name, actor=request.actor)
    except TeamChip.DoesNotExist:
        raise Http404 from None
    return Status(204, None)


@router.post(
    "/chips/{str:name}/figures",
    auth=allow(Scope.COST_WRITE),
    response={201: OwnFigureOut, **PROBLEMS},
)
@decorate_view(idempotent)
def set_figure(request: PortalRequest, name: str, body: FigureIn) -> Status[ChipFigure]:
    """A figure of the team's own; it closes the one before and changes nothing in the past."""
    if name not in catalogue_selectors.chips(request.team):
        raise Http404
    row = catalogue_services.set_figure(
        team=request.team,
        chip=name,
        given=Given(**body.dict(exclude={"from_at"})),
        from_at=body.from_at,
        actor=request.actor,
    )
    return Status(201, row)


@router.delete(
    "/chips/{str:name}/figures/{str:figure}",
    auth=allow(Scope.COST_WRITE),
    response={204: None, **PROBLEMS},
)
def undo_figure(request: PortalRequest, name: str, figure: str) -> Status[None]:
    """End the team's own figure, or take back one set for later."""
    try:
        catalogue_services.undo_figure(
            team=request.team, chip=name, figure=figure, actor=request.actor
        )
    except ChipFigure.DoesNotExist:
        raise Http404 from None
    return Status(204, None)


def _detail(request: PortalRequest, name: str) -> dict[str, Any]:
    known = catalogue_selectors.known(request.team)
    if (chip := known.chips.get(name)) is None:
        raise Http404
    rows = catalogue_selectors.figure_rows(request.team).filter(chip=name)
    return _chip(chip, known) | {"history": list(rows)}


def _chip(chip: Chip, known: Known) -> dict[str, Any]:
    names = ("name", "vendor", "form_factor", "aliases", "note")
    figures = {
        figure: {
            "value": one.value,
            "year": one.year,
            "quality": one.quality,
            "source": one.source,
            "own": (chip.name, figure) in known.own,
        }
        for figure, one in chip.figures.items()
    }
    told: dict[str, Any] = {name: getattr(chip, name) for name in names}
    return told | {"own": chip.name in known.added, "figures": figures}
