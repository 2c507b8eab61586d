"""`manage.py prepare`: the tables, static files and words that this version wants.

For a new portal, also the link by which its first admin signs in.

One process, since loading everything costs more than the work itself.
"""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """May be repeated; changes nothing that is right."""

    help = "Migrate the database, collect the static files, compile the translation."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """One after the other."""
        call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
        call_command("collectstatic", interactive=False, verbosity=0)
        call_command("translate", compile=True)
        call_command("first_start", if_new=True, stdout=self.stdout)
