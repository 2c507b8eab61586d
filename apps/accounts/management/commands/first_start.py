"""Make the first admin and team, and print a link that signs in once."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from apps.accounts import selectors, services
from regatta.embedded import portal


class Command(BaseCommand):
    help = "Make the first admin and team if there are none, and print a one-time sign-in link."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--if-new", action="store_true", help="only if nobody can sign in yet")
        parser.add_argument("--user", help="for this user instead of the first admin")
        parser.add_argument("--token", metavar="NAME", help="also make an API token for a day")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["if_new"] and not selectors.nobody_can_sign_in():
            return
        admin, name = services.first_start(), options["user"]
        user = selectors.user_named(name) if name else admin
        if user is None:
            raise CommandError(f"there is no user {name}")
        team = selectors.teams_of(user).order_by("pk").first()
        if team is None:
            raise CommandError(f"{user.username} is in no team")
        code = services.one_time_link(user)
        said = {
            "link": f"{_address()}{reverse('accounts:link', args=[code])}",
            "user": user.username,
            "team": team.slug,
        }
        if name := options["token"]:
            _row, said["token"] = services.create_token(
                user=user,
                team=team,
                name=name,
                scopes=services.all_scopes(),
                days=1,
                actor="system",
            )
        told = f"To sign in as {user.username}, once, within half an hour: {said['link']}"
        self.stdout.write(json.dumps(said) if options["json"] else told)


def _address() -> str:
    """What the environment says, else where the portal that runs in this home listens."""
    running = portal.holder(portal.Portal(home=settings.REGATTA_HOME))
    if running is None or portal.is_set("REGATTA_URL"):
        return str(settings.REGATTA_URL)
    return running.url
