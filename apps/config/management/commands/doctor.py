"""`manage.py doctor`: what must be true of the data and of the running parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.config.invariants import broken
from apps.lifecycle.models import Heartbeat
from apps.web.health import TICKER_LATE_S
from regatta.health.finding import Finding

_SKEW_S = 5.0


class Command(BaseCommand):
    """Ends with 1 when anything is an error."""

    help = "Check the data and the running parts, and say what to do about each finding."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Of this command."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, and say what was found."""
        findings = list(_findings())
        if options["json"]:
            self.stdout.write(json.dumps({"findings": [asdict(one) for one in findings]}))
        else:
            for one in findings:
                self.stdout.write(f"{one.severity}: {one.code}: {one.what}\n  {one.advice}")
        if any(one.severity == "error" for one in findings):
            raise SystemExit(1)


def _findings() -> Iterator[Finding]:
    if missing := _unapplied():
        what = f"Migrations not applied: {', '.join(missing[:5])}"
        yield Finding("migrations", "error", what, "Run: python manage.py migrate")
        return  # the tables are not as the rest believes
    yield from _clock()
    yield from _ticker()
    yield from broken()


def _unapplied() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _backwards in plan]


def _clock() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    assert row is not None
    skew_s = abs((datetime.now(UTC) - row[0]).total_seconds())
    if skew_s > _SKEW_S:
        what = f"This machine's clock and the database's differ by {skew_s:.1f} s"
        yield Finding("clock", "warning", what, "Switch on time synchronisation (NTP) on both.")


def _ticker() -> Iterator[Finding]:
    age_s = Heartbeat.ages_s().get("ticker")
    if age_s is None or age_s > TICKER_LATE_S:
        since = "never" if age_s is None else f"{age_s:.0f} s ago"
        advice = "Nothing moves without it. Start the portal: regatta up"
        yield Finding("ticker", "error", f"The ticker showed life last: {since}", advice)
