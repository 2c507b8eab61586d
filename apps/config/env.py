"""Settings from the environment, by functions that refuse nonsense."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict


def text(name: str, default: str = "") -> str:
    """The value of `name`, or the content of the file that `<name>_FILE` names."""
    if path := os.environ.get(f"{name}_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    return os.environ.get(name, default)


def number(name: str, default: float, *, least: float = 0) -> float:
    """A finite number of at least `least`.

    Raises: ImproperlyConfigured, naming the variable and what would be right.
    """
    raw = text(name, str(default))
    try:
        value = float(raw)
    except ValueError:
        value = float("nan")
    if not (math.isfinite(value) and value >= least):
        raise ImproperlyConfigured(f"{name}={raw!r} must be a finite number, at least {least:g}")
    return value


def flag(name: str) -> bool:
    """Whether `name` is switched on (1, true, yes, on)."""
    return text(name).lower() in {"1", "true", "yes", "on"}


def words(name: str) -> list[str]:
    """What stands in `name`, separated by commas."""
    return [word for raw in text(name).split(",") if (word := raw.strip())]


def database(url: str, *, pool: int = 0) -> dict[str, Any]:
    """Django's settings of the PostgreSQL server at `url`, a libpq connection URI.

    pool: the most connections that threads of one process share; 0 for one each.
    """
    try:
        parts = {key: value for key, value in conninfo_to_dict(url).items() if value is not None}
    except ProgrammingError as error:
        raise ImproperlyConfigured(
            f"DATABASE_URL must be like postgresql://user:password@host/name ({error})"
        ) from error
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", "regatta"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": parts | ({"pool": _pool(pool)} if pool else {}),
    }


def _pool(most: int) -> dict[str, int]:
    return {"min_size": 2, "max_size": most, "timeout": 10}
