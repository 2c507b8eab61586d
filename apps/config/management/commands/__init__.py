"""Commands of the portal as a whole."""

from __future__ import annotations
