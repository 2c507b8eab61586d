"""What the measurements share: paths, percentiles, a portal's own tables, a line of JSON each."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(ROOT / "tests" / "factories")]


def tell(bench: str, value: float, unit: str, *, limit: float | None = None, **more: Any) -> None:
    """One result. load: of the machine at the end, runnable processes over the last minute."""
    told = {"bench": bench, "value": round(value, 4), "unit": unit, "limit": limit, **more}
    told |= {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def at(share: float, values: Sequence[float]) -> float:
    """The value that `share` of all do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def enter(home: Path) -> None:
    """Let this process use the tables of the portal at `home`, as its own processes do."""
    os.environ |= {"REGATTA_HOME": str(home), "DJANGO_SETTINGS_MODULE": "apps.config.settings"}
    import django  # noqa: PLC0415  (settings are read from the environment)

    django.setup()
