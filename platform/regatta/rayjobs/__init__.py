"""Ray's Jobs API over HTTP, and the packages it takes; needs no ray package."""

from __future__ import annotations
