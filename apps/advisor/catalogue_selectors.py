"""Which chips a team may plan with: the shipped ones, and what it knows better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.advisor.models import ChipFigure, TeamChip
from regatta.hardware.catalogue import Chip, catalogue, overlaid

if TYPE_CHECKING:
    from apps.accounts.models import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """chips: by name. added: names of the team's own. own: (chip, figure) that it has set."""

    chips: Mapping[str, Chip]
    added: frozenset[str]
    own: frozenset[tuple[str, str]]

    def is_own(self, chip: str) -> bool:
        """Whether the team added it, or set any figure of it."""
        return chip in self.added or any(name == chip for name, _ in self.own)


def chips(team: Team, at: datetime | None = None) -> Mapping[str, Chip]:
    """The shipped chips by name, with the team's own and its own figures on top, as at `at`."""
    return known(team, at).chips


def known(team: Team, at: datetime | None = None) -> Known:
    """The same, and what of it is the team's. at: None is now."""
    at = at or timezone.now()
    names = [row for row in TeamChip.objects.filter(team=team) if row.is_there(at)]
    there = {*catalogue(), *(row.name for row in names)}  # a release may have renamed a chip
    figures = [row for row in figure_rows(team).filter(_holds(at)) if row.chip in there]
    return Known(
        chips=overlaid(
            catalogue(),
            [_identity(row) for row in names],
            [row_of(row) for row in figures],
        ),
        added=frozenset(row.name for row in names),
        own=frozenset((row.chip, row.figure) for row in figures),
    )


def figure_rows(team: Team) -> QuerySet[ChipFigure]:
    """Every figure that the team has set, of a removed chip too; the newest first."""
    return ChipFigure.objects.filter(team=team).order_by("-from_at", "-pk")


def row_of(row: ChipFigure) -> dict[str, str]:
    """As a line of figures.csv; its year is the one from which the team says so."""
    return {
        "chip": row.chip,
        "figure": row.figure,
        "value": repr(row.value),
        "year": str(row.from_at.year),
        "quality": row.quality,
        "source": row.source,
    }


def _holds(at: datetime) -> Q:
    return Q(from_at__lte=at) & (Q(to_at=None) | Q(to_at__gt=at))


def _identity(row: TeamChip) -> dict[str, str]:
    return {
        "chip": row.name,
        "vendor": row.vendor,
        "form_factor": row.form_factor,
        "aliases": "",
        "note": row.note,
    }
