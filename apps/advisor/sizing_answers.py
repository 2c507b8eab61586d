"""Ask the engine for sizes, within what a web process can bear."""

from __future__ import annotations

from typing import Any

from apps.advisor import search_services, search_work
from apps.advisor.search_services import Progress
from apps.advisor.sizing_forms import Asked
from apps.http.limits import Room
from regatta.planning.fleets import Load, Serving, size_serving
from regatta.planning.sizing import Searched, Sizing, chosen
from regatta.planning.sizing_answer import serving_answer, training_answer

_ROOM = Room(working=1, waiting=4)  # a third of a second of a core for twenty kinds of chips


def find(asked: Asked, *, actor: str) -> Sizing | Serving | Progress:
    """The front; or how far the search for it is, which goes on in the background.

    Raises: BadField, NoPlan; Refused where too many ask already.
    """
    if isinstance(asked.request, Load):
        with _ROOM.enter():
            return size_serving(asked.request, asked.offers)
    priced = [offer for offer in asked.offers if offer.has_price]
    wanted = [search_work.sizes(asked.request, offer) for offer in priced]
    rows = search_services.ask(wanted, actor=actor)
    progress = search_services.progress(rows)
    if progress.done < progress.of:
        return progress
    by_chip = {row.asked["chip"]: search_work.found(row.found or {}) for row in rows}
    searches = [by_chip.get(offer.chip.name, Searched()) for offer in asked.offers]
    return chosen(asked.request, asked.offers, searches)


def told(asked: Asked, sized: Sizing | Serving) -> dict[str, Any]:
    """The answer as data."""
    if isinstance(asked.request, Load):
        assert isinstance(sized, Serving)
        return serving_answer(asked.request, asked.offers, sized)
    assert isinstance(sized, Sizing)
    return training_answer(asked.request, asked.offers, sized)
