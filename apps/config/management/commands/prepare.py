"""`manage.py prepare`: the database's tables and the static files, as this version wants them.

One process, since loading everything costs more than the work itself.
"""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """May be repeated; changes nothing that is right."""

    help = "Migrate the database and collect the static files."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """The one, then the other."""
        call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
        call_command("collectstatic", interactive=False, verbosity=0)
