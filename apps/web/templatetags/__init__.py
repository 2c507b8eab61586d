"""Template tags that every app's pages use."""

from __future__ import annotations
