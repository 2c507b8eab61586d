"""Pages about chips: all of them, one with its sources, some side by side, and a team's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.advisor import catalogue_charts, catalogue_selectors, catalogue_services
from apps.advisor.catalogue_forms import ChipForm, FigureForm
from apps.advisor.catalogue_selectors import Known
from apps.advisor.catalogue_texts import FIGURES, GROUPS, QUALITIES, QUALITY_MEANS, SURE
from apps.advisor.models import ChipFigure, TeamChip
from apps.http.looks import Words
from apps.http.pages import refuse, render_page
from apps.http.problems import Refused
from regatta.hardware.catalogue import REQUIRED, Chip, Figure, catalogue

MOST_COMPARED = 4
COLUMNS = ("memory_gib", "memory_GBps", "bf16_tflops", "fp8_tflops", "price_usd_per_hour")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A figure as pages show it. figure: None where nobody knows one. note: the number of its
    source below. share: of the most beside it, 0..1. best: whether it is the one to wish for."""

    name: str
    word: Words
    unit: Words
    figure: Figure | None
    quality: Words = ""
    means: Words = ""
    sure: bool = True
    own: bool = False
    shipped: Figure | None = None
    needed: bool = False
    note: int = 0
    share: float = 0.0
    best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A chip of the list."""

    chip: Chip
    own: bool
    cells: list[Cell]


@access(Scope.CLUSTERS_READ)
@require_GET
def chips(request: PortalRequest) -> HttpResponse:
    """Every chip that the team may plan with, to be filtered, sorted and compared."""
    known = catalogue_selectors.known(request.team)
    shown = _sorted(_filtered(known, request.GET), request.GET.get("sort", ""))
    context = {
        "rows": [
            Row(
                chip=chip,
                own=known.is_own(chip.name),
                cells=[_cell(chip, name, known) for name in COLUMNS],
            )
            for chip in shown
        ],
        "columns": [(name, FIGURES[name]) for name in COLUMNS],
        "sort": request.GET.get("sort", ""),
        "vendors": sorted({chip.vendor for chip in known.chips.values()}, key=str.lower),
        "total": len(known.chips),
        "most": MOST_COMPARED,
        "chart": catalogue_charts.landscape(shown),
    }
    return render_page(request, "advisor/chips.html", context, part="table")


@access(Scope.CLUSTERS_READ, write=Scope.COST_WRITE)
@require_http_methods(["GET", "POST"])
def chip(request: PortalRequest, chip: str) -> HttpResponse:
    """One chip with its sources; an owner sets a figure of the team's own, or takes it back."""
    known = catalogue_selectors.known(request.team)
    if (found := known.chips.get(chip)) is None:
        raise Http404
    doing = request.POST.get("action", "")
    form = FigureForm(request.POST if request.method == "POST" and not doing else None)
    if doing and (done := _undone(request, doing, found)) is not None:
        return done
    if form.is_valid() and _saved(request, form, found):
        return redirect("advisor:chip", request.team.slug, chip)
    sources: dict[str, int] = {}
    groups = [(group.word, _noted(found, group.figures, known, sources)) for group in GROUPS]
    context = {
        "chip": found,
        "added": chip in known.added,
        "groups": groups,
        "sources": list(sources),
        "history": [
            (FIGURES[row.figure], row, QUALITIES[row.quality])
            for row in catalogue_selectors.figure_rows(request.team).filter(chip=chip)
        ],
        "now": timezone.now(),
        "form": form,
    }
    return render_page(request, "advisor/chip.html", context, status=422 if form.errors else 200)


@access(Scope.COST_WRITE)
@require_http_methods(["GET", "POST"])
def add_chip(request: PortalRequest) -> HttpResponse:
    """A chip of the team's own."""
    form = ChipForm(request.POST or None)
    if form.is_valid():
        names = ("name", "vendor", "form_factor", "note")
        try:
            made = catalogue_services.add_chip(
                team=request.team,
                **{name: form.cleaned_data[name] for name in names},
                figures=form.figures(),
                actor=request.actor,
            )
        except Refused as error:
            refuse(form, error)
        else:
            messages.success(request, _("%(name)s is in the catalogue.") % {"name": made.name})
            return redirect("advisor:chip", request.team.slug, made.name)
    status = 422 if form.errors else 200
    return render_page(request, "advisor/chip_form.html", {"form": form}, status=status)


@access(Scope.CLUSTERS_READ)
@require_GET
def compare(request: PortalRequest) -> HttpResponse:
    """Some chips side by side."""
    known = catalogue_selectors.known(request.team)
    names = list(dict.fromkeys(request.GET.getlist("chip")))[:MOST_COMPARED]
    compared = [known.chips[name] for name in names if name in known.chips]
    context = {
        "compared": [Row(chip=one, own=known.is_own(one.name), cells=[]) for one in compared],
        "groups": _side_by_side(compared, known),
        "others": [name for name in known.chips if name not in names],
        "most": MOST_COMPARED,
    }
    return render_page(request, "advisor/chip_compare.html", context)


def _cell(chip: Chip, name: str, known: Known) -> Cell:
    figure, about = chip.figures.get(name), FIGURES[name]
    if figure is None:
        return Cell(name=name, word=about.word, unit=about.unit, figure=None)
    own, of_old = (chip.name, name) in known.own, catalogue().get(chip.name)
    return Cell(
        name=name,
        word=about.word,
        unit=about.unit,
        figure=figure,
        quality=QUALITIES[figure.quality],
        means=QUALITY_MEANS[figure.quality],
        sure=figure.quality in SURE,
        own=own,
        shipped=of_old.figures.get(name) if own and of_old else None,
        needed=name in REQUIRED and chip.name in known.added,
    )


def _noted(chip: Chip, names: Iterable[str], known: Known, sources: dict[str, int]) -> list[Cell]:
    """The figures that the chip has; their sources are numbered in `sources`, each once."""
    cells = []
    for name in names:
        cell = _cell(chip, name, known)
        if cell.figure:
            note = sources.setdefault(cell.figure.source, len(sources) + 1)
            cells.append(replace(cell, note=note))
    return cells


def _filtered(known: Known, asked: Mapping[str, str]) -> list[Chip]:
    words, vendor = asked.get("q", "").lower().split(), asked.get("vendor", "")

    def wanted(chip: Chip) -> bool:
        named = " ".join((chip.name, chip.vendor, chip.form_factor, *chip.aliases)).lower()
        return (
            all(word in named for word in words)
            and vendor in ("", chip.vendor)
            and (not asked.get("priced") or chip.price_usd_per_hour is not None)
            and (not asked.get("fp8") or "fp8" in chip.peak_flops)
            and (not asked.get("own") or known.is_own(chip.name))
        )

    return [chip for chip in known.chips.values() if wanted(chip)]


def _sorted(found: list[Chip], sort: str) -> list[Chip]:
    """By a figure, what has none last; by name or vendor; else as the catalogue has it."""
    name, down = sort.removeprefix("-"), sort.startswith("-")
    if name in COLUMNS:
        has = [one for one in found if name in one.figures]
        lacks = [one for one in found if name not in one.figures]
        return sorted(has, key=lambda one: one.figures[name].value, reverse=down) + lacks
    by: dict[str, Callable[[Chip], Any]] = {
        "chip": lambda one: one.name.lower(),
        "vendor": lambda one: (one.vendor.lower(), one.name.lower()),
    }
    return sorted(found, key=by[name], reverse=down) if name in by else found


def _side_by_side(compared: list[Chip], known: Known) -> list[tuple[Words, list[Any]]]:
    """Groups of figures, a line a figure that any of these chips has, a cell a chip."""
    groups: list[tuple[Words, list[Any]]] = []
    for group in GROUPS:
        lines = []
        for name in group.figures:
            values = [one.figures[name].value for one in compared if name in one.figures]
            if not values:
                continue
            most = max(values)
            wish = min(values) if name in _LESS_IS_BETTER else most
            wish = wish if len(set(values)) > 1 else 0.0  # all alike: none is the best
            lines.append([_marked(_cell(one, name, known), most, wish) for one in compared])
        groups.append((group.word, lines))
    return groups


_LESS_IS_BETTER = frozenset({"price_usd_per_hour", "purchase_usd", "tdp_w"})


def _marked(cell: Cell, most: float, wish: float) -> Cell:
    if cell.figure is None:
        return cell
    return replace(cell, share=cell.figure.value / most, best=cell.figure.value == wish)


def _saved(request: PortalRequest, form: FigureForm, found: Chip) -> bool:
    """Set the figure; what is wrong with it is said in the form."""
    try:
        made = catalogue_services.set_figure(
            team=request.team,
            chip=found.name,
            given=form.given(),
            from_at=form.cleaned_data["from_at"],
            actor=request.actor,
        )
    except Refused as error:
        refuse(form, error)
        return False
    said = {"figure": FIGURES[made.figure].word, "at": f"{made.from_at:%Y-%m-%d %H:%M}"}
    messages.success(request, _("%(figure)s holds from %(at)s UTC.") % said)
    return True


def _undone(request: PortalRequest, doing: str, found: Chip) -> HttpResponse | None:
    """Take back a figure, or the chip; where that cannot be, a message says why."""
    about: dict[str, Any] = {"team": request.team, "actor": request.actor}
    try:
        if doing == "remove":
            catalogue_services.remove_chip(name=found.name, **about)
            messages.success(request, _("%(name)s was removed.") % {"name": found.name})
            return redirect("advisor:chips", request.team.slug)
        catalogue_services.undo_figure(
            chip=found.name, figure=request.POST.get("figure", ""), **about
        )
    except Refused as error:
        messages.error(request, error.detail)
    except (ChipFigure.DoesNotExist, TeamChip.DoesNotExist):
        messages.error(request, _("There is nothing of the team's own to take back."))
    else:
        messages.success(request, _("Taken back; what holds without it is shown."))
    return redirect("advisor:chip", request.team.slug, found.name)
