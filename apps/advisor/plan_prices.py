"""What a chip-hour costs in a plan, and how far that figure can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from apps.clusters import selectors as clusters
from apps.costs import selectors as costs
from regatta.hardware.catalogue import Chip

if TYPE_CHECKING:
    from apps.accounts.models import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD of one chip for one hour, None where it is unknown. estimated: nobody agreed to it."""

    usd_per_chip_hour: float | None
    source: str
    estimated: bool = False


UNASKED = Price(usd_per_chip_hour=None, source="")


def price(given: float | None, chip: Chip, cluster: Any, *, team: Team) -> Price:
    """The price that was given, or of the team's cluster, or of the catalogue."""
    if given is not None:
        return Price(usd_per_chip_hour=given, source=_("as given in the form"))
    if cluster is not None:
        kinds = clusters.planned_kinds(cluster.pk)
        hourly = costs.hourly_usd(kinds, team_id=team.pk)
        if hourly is None:
            return Price(usd_per_chip_hour=None, source=_("no price of its nodes is known"))
        per_chip = hourly / Decimal(cluster.workers * cluster.node_chips)
        return Price(
            usd_per_chip_hour=float(per_chip),
            source=_("prices of the nodes of %(name)s") % {"name": cluster.name},
            estimated=costs.is_sample(kinds, team_id=team.pk),
        )
    figure = chip.figures.get("price_usd_per_hour")
    if figure is None:
        return Price(
            usd_per_chip_hour=None,
            source=_("the catalogue has no price of %(chip)s") % {"chip": chip.name},
        )
    said = {"quality": figure.quality, "year": figure.year, "source": figure.source}
    return Price(
        usd_per_chip_hour=figure.value,
        source=_("catalogue, %(quality)s, %(year)d: %(source)s") % said,
        estimated=figure.quality not in {"measured", "published"},
    )
