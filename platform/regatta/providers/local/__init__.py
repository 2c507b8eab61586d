"""Clusters on this machine: real Ray processes, a tree of them for each node."""

from __future__ import annotations

from regatta.providers.local.processes import end_all
from regatta.providers.local.provider import LocalProvider

__all__ = ["LocalProvider", "end_all"]
