"""Which labels a node may carry. Pure."""

from __future__ import annotations

import re
from typing import Any

MOST = 16
_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?(/[A-Za-z0-9._-]{1,63})?")
_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_OURS = frozenset({"simulated", "accelerator"})  # set by Regatta where chips are simulated


def wrong_label(labels: Any) -> str:
    """The first label that cannot be, as it was given; empty when all may stand."""
    if not isinstance(labels, dict):
        return repr(labels)[:80]
    if len(labels) > MOST:
        return f"{len(labels)} labels"
    for key, value in labels.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            return f"{key}={value}"[:80]
        ours = key in _OURS or key.startswith("ray.io/")
        if ours or not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            return f"{key}={value}"[:80]
    return ""
