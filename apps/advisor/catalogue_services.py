"""Writes of a team's own chips and figures: a figure is never changed, a new one follows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts.services import audit
from apps.advisor import catalogue_selectors
from apps.advisor.models import ChipFigure, TeamChip
from apps.http.problems import Refused
from regatta.hardware.catalogue import (
    FIGURES,
    QUALITIES,
    REQUIRED,
    Chip,
    UnknownChip,
    catalogue,
    find,
    key,
)

if TYPE_CHECKING:
    from apps.accounts.models import Team

MOST_CHIPS = 200  # of a team's own
LEAST_VALUE, MOST_VALUE = 1e-6, 1e9  # no figure in any of its units comes near
_WHOLE = frozenset({"domain_chips", "chips_per_node"})
_AWAY_MOST = timedelta(days=5 * 365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A figure as somebody gives it, in the unit its name ends with."""

    figure: str
    value: float
    quality: str
    source: str


@transaction.atomic
def add_chip(
    *,
    team: Team,
    name: str,
    vendor: str,
    form_factor: str = "",
    note: str = "",
    figures: Iterable[Given],
    actor: str,
) -> TeamChip:
    """A chip of the team's own, with at least the figures that every chip has.

    Raises: Refused for a name that is taken, a figure that is missing or cannot be.
    """
    _one_at_a_time(team)
    known = catalogue_selectors.known(team)
    given = list(figures)
    if missing := [one for one in REQUIRED if one not in {each.figure for each in given}]:
        raise Refused(
            "figure_missing",
            _("A chip needs these figures too: %(names)s.") % {"names": ", ".join(missing)},
            pointer=f"/figures/{missing[0]}",
        )
    if (taken := _found(name, known.chips)) is not None:
        raise Refused(
            "chip_exists",
            _("%(name)s is in the catalogue already; set its figures there.")
            % {"name": taken.name},
            status=409,
            pointer="/name",
        )
    if len(known.added) >= MOST_CHIPS:
        said = _("A team adds at most %(most)d chips of its own.") % {"most": MOST_CHIPS}
        raise Refused("too_many_chips", said, status=409)
    now = timezone.now()
    row = TeamChip(
        team=team,
        name=name,
        key=key(name),
        vendor=vendor,
        form_factor=form_factor,
        note=note,
        added_at=now,
    )
    row.full_clean(exclude=["team"])
    row.save()
    rows = [_row(team, name, one, now, actor) for one in given]
    ChipFigure.objects.bulk_create(rows)
    audit(team=team, actor=actor, action="chip.add", subject=name)
    return row


@transaction.atomic
def remove_chip(*, team: Team, name: str, actor: str) -> None:
    """Take a chip of the team's own out of the catalogue; its figures stay as history.

    Raises: TeamChip.DoesNotExist for any other chip.
    """
    _one_at_a_time(team)
    row = TeamChip.objects.get(team=team, name=name, removed_at=None)
    row.removed_at = timezone.now()
    row.save(update_fields=["removed_at"])
    goes_on = Q(to_at=None) | Q(to_at__gt=row.removed_at)  # one set for later has closed it then
    figures = ChipFigure.objects.filter(goes_on, team=team, chip=name)
    figures.filter(from_at__gte=row.removed_at).delete()
    figures.update(to_at=row.removed_at)
    audit(team=team, actor=actor, action="chip.remove", subject=name)


@transaction.atomic
def set_figure(
    *, team: Team, chip: str, given: Given, from_at: datetime | None = None, actor: str
) -> ChipFigure:
    """The team's own figure of a chip, which closes the one it follows at the same moment.

    from_at: None is now; in the past only where the team had said nothing yet.
    Raises: Refused for a figure that cannot be, or when it would change the past or a figure set
    for later; UnknownChip.
    """
    _one_at_a_time(team)
    now = timezone.now()
    name = find(chip, catalogue_selectors.chips(team)).name
    row = _row(team, name, given, from_at or now, actor)
    _refuse_to_rewrite(row, now)
    _of(row).filter(to_at=None).update(to_at=row.from_at)
    row.save()
    _audit_figure(row, "chip.figure.set", actor)
    return row


@transaction.atomic
def undo_figure(*, team: Team, chip: str, figure: str, actor: str) -> None:
    """End the team's own figure, or take back one set for later; what is shipped holds again.

    Raises: ChipFigure.DoesNotExist where there is none; Refused for one that the team's own chip
    cannot be without.
    """
    _one_at_a_time(team)
    now = timezone.now()
    rows = ChipFigure.objects.filter(team=team, chip=chip, figure=figure)
    last = rows.get(to_at=None)
    if last.from_at > now:
        last.delete()
        rows.filter(to_at=last.from_at).update(to_at=None)
    elif figure in REQUIRED and chip not in catalogue():
        raise Refused(
            "figure_needed",
            _("%(chip)s cannot be without %(figure)s; set another value instead.")
            % {"chip": chip, "figure": figure},
            status=409,
        )
    else:
        rows.filter(pk=last.pk).update(to_at=now)
    _audit_figure(last, "chip.figure.undo", actor)


def _row(team: Team, chip: str, given: Given, from_at: datetime, actor: str) -> ChipFigure:
    """Raises: Refused for a figure that nothing could be computed with."""
    figure, value = given.figure, given.value
    if not LEAST_VALUE <= value <= MOST_VALUE or (figure in _WHOLE and value % 1):
        within = {"least": LEAST_VALUE, "most": MOST_VALUE}
        right = _("a number from %(least)g to %(most)g") % within
        right = _("a whole number from 1 up") if figure in _WHOLE else right
        raise Refused(
            "bad_figure",
            _("%(figure)s: %(right)s is right, not %(value)g.")
            % {"figure": figure, "right": right, "value": value},
            pointer="/value",
        )
    row = ChipFigure(
        team=team,
        chip=chip,
        figure=figure,
        value=value,
        quality=given.quality,
        source=given.source,
        from_at=from_at,
        set_by=actor,
    )
    row.full_clean(exclude=["team"], validate_constraints=False)
    if figure not in FIGURES or given.quality not in QUALITIES:
        said = _("There is no figure %(figure)s, or no quality %(quality)s.")
        about = {"figure": figure, "quality": given.quality}
        raise Refused("bad_figure", said % about, pointer="/figure")
    return row


def _refuse_to_rewrite(row: ChipFigure, now: datetime) -> None:
    if abs(row.from_at - now) > _AWAY_MOST:
        said = _("A figure begins at most five years from now.")
        raise Refused("out_of_range", said, pointer="/from_at")
    last = _of(row).order_by("from_at").last()
    if last is None:
        return
    until = last.to_at or now
    if row.from_at <= last.from_at or row.from_at < min(until, now):
        raise Refused(
            "figure_exists",
            _("A figure of %(chip)s already holds from %(at)s; a new one must begin later.")
            % {"chip": row.chip, "at": last.from_at.isoformat(timespec="seconds")},
            status=409,
            pointer="/from_at",
        )


def _of(row: ChipFigure) -> QuerySet[ChipFigure]:
    return ChipFigure.objects.filter(team=row.team, chip=row.chip, figure=row.figure)


def _found(name: str, chips: Mapping[str, Chip]) -> Chip | None:
    try:
        return find(name, chips)
    except UnknownChip:
        return None


def _audit_figure(row: ChipFigure, action: str, actor: str) -> None:
    audit(
        team=row.team,
        actor=actor,
        action=action,
        subject=row.chip,
        figure=row.figure,
        value=row.value,
    )


def _one_at_a_time(team: Team) -> None:
    """Wait until no other transaction writes figures of this team."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"advisor.chips:{team.pk}"]
        )
