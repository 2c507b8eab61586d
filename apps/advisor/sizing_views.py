"""The sizing page: which chips, how many, by when and for how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.advisor import plan_texts, sizing_answers, sizing_charts, sizing_texts
from apps.advisor.search_services import Progress
from apps.advisor.sizing_forms import BEGUN, Asked, SizeForm
from apps.advisor.sizing_texts import Way
from apps.http.looks import Words
from apps.http.pages import refuse, render_page
from apps.http.problems import Refused
from regatta.costs.tco import break_even_busy
from regatta.planning.fleets import Load, Serving
from regatta.planning.shapes import BadField
from regatta.planning.sizing import NoPlan, Option, Sizing, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One way, as a card or a line of the table. plan: in words, `explore` its page.

    break_even_busy: of what is owned, the share of hours from which it is cheaper than renting.
    """

    one: Way
    words: str
    plan: str = ""
    explore: str = ""
    finish: datetime | None = None
    usd_per_mtok: float = 0.0
    estimated: bool = False
    break_even_busy: float | None = None
    picked: list[Words]


@access(Scope.CLUSTERS_READ)
@require_GET
def size(request: PortalRequest) -> HttpResponse:
    """Ask for ways to train or serve a model, and see them; the address carries what was asked."""
    form = SizeForm(_asked(request), team=request.team)
    context: dict[str, Any] = {"form": form, "what": form["what"].value()}
    if form.is_valid():
        asked = form.asked()
        try:
            context |= _found(request, asked)
        except NoPlan as error:
            context |= {"none": sizing_texts.no_plan(error), "none_told": str(error)}
        except Refused as error:
            refuse(form, error)
        except BadField as error:
            form.refuse(error)
    status = 422 if form.errors else 200
    return render_page(request, "advisor/size.html", context, part="answer", status=status)


def _asked(request: PortalRequest) -> Any:
    if request.GET.get("model"):
        return request.GET
    begun = request.GET.copy()
    for name, value in BEGUN.items():
        begun.setlist(name, value if isinstance(value, list) else [value])
    return begun


def _found(request: PortalRequest, asked: Asked) -> dict[str, Any]:
    """What the page shows: the answer, or how far the search is."""
    found = sizing_answers.find(asked, actor=request.actor)
    if isinstance(found, Progress):
        return {"progress": found}
    return _told(request, asked, found)


def _told(request: PortalRequest, asked: Asked, sized: Sizing | Serving) -> dict[str, Any]:
    picks = [
        (_("Cheapest"), sized.cheapest),
        (_("Balanced"), sized.balanced),
        (_("Fastest"), sized.fastest),
    ]
    misses = (
        sized.misses.items()
        if isinstance(sized.misses, Mapping)
        else [("", text) for text in sized.misses]
    )

    def line(one: Way) -> Line:
        return _line(request, asked, one, [word for word, pick in picks if pick is one])

    return {
        "asked": asked,
        "cards": [(word, line(one)) for word, one in picks],
        "lines": [line(one) for one in sized.front],
        "chart": sizing_charts.front(asked.request, sized),
        "unpriced": sized.unpriced,
        "misses": list(misses),
    }


def _line(request: PortalRequest, asked: Asked, one: Way, picked: list[Words]) -> Line:
    rent = {offer.chip.name: offer.usd_per_hour for offer in asked.offers}[one.chip]
    told: dict[str, Any] = {
        "one": one,
        "words": sizing_texts.ways(one),
        "estimated": one.basis == "own" or one.chip in asked.estimated,
        "picked": picked,
    }
    if one.basis == "own" and rent:
        told["break_even_busy"] = break_even_busy(one.usd_per_chip_hour, rent)
    if isinstance(one, Option) and not isinstance(asked.request, Load):
        told |= {
            "plan": plan_texts.short(one.best.plan),
            "explore": _explore(request, asked.request, one),
            "finish": timezone.now() + timedelta(days=one.days) if one.days < _FAR_DAYS else None,
            "usd_per_mtok": one.cost_usd / asked.request.tokens * 1e6,
        }
    return Line(**told)


_FAR_DAYS = 100 * 365


def _explore(request: PortalRequest, asked: Training, one: Option) -> str:
    """The explorer on the same model, chips and batch."""
    words = {
        "model": request.GET.get("model", BEGUN["model"]),
        "config": request.GET.get("config", ""),
        "where": "catalogue",
        "chip": one.chip,
        "count": one.count,
        "seq_len": int(asked.shape.seq_len),
        "global_batch": int(one.best.plan.global_batch),
        "dtype": asked.dtype,
        "usd": repr(one.usd_per_chip_hour),
        "tokens_b": repr(asked.tokens / 1e9),
        "lora": "on" if asked.frozen else "",
    }
    address = reverse("advisor:explore", args=[request.team.slug])
    return f"{address}?{urlencode({name: value for name, value in words.items() if value != ''})}"
