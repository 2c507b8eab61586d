"""Make the first admin and team, and print a link that signs in once."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.urls import reverse

from apps.accounts import selectors, services


class Command(BaseCommand):
    help = "Make the first admin and team if there are none, and print a one-time sign-in link."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--token", metavar="NAME", help="also make an API token for a day")

    def handle(self, *args: Any, **options: Any) -> None:
        admin = services.first_start()
        team = selectors.teams_of(admin).order_by("pk").first()
        assert team is not None
        code = services.one_time_link(admin)
        said = {
            "link": f"{settings.REGATTA_URL}{reverse('accounts:link', args=[code])}",
            "user": admin.username,
            "team": team.slug,
        }
        if name := options["token"]:
            _row, said["token"] = services.create_token(
                user=admin,
                team=team,
                name=name,
                scopes=services.all_scopes(),
                days=1,
                actor="system",
            )
        self.stdout.write(json.dumps(said) if options["json"] else said["link"])
