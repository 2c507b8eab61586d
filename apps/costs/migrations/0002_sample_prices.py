"""A price to begin with, labelled as what it is: sample data."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import migrations
from django.utils.translation import gettext_noop

KIND, USD_PER_HOUR = "local", Decimal("0.10")
FROM_AT = datetime(2020, 1, 1, tzinfo=UTC)


def add(apps: Any, schema_editor: Any) -> None:
    apps.get_model("costs", "PriceInterval").objects.get_or_create(
        team=None,
        kind=KIND,
        from_at=FROM_AT,
        defaults={
            "usd_per_hour": USD_PER_HOUR,
            "basis": "sample",
            "note": gettext_noop(
                "Sample data: a small machine under the desk. Set your own price."
            ),
            "set_by": "system",
        },
    )


class Migration(migrations.Migration):
    dependencies = [("costs", "0001_initial")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
