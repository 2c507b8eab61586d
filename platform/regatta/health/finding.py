"""What `regatta doctor` finds, before the portal runs and in its data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. severity: error, warning."""

    code: str
    severity: str
    what: str
    advice: str
