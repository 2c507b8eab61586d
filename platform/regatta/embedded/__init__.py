"""PostgreSQL, the broker and the portal's own processes, run on this machine without root."""

from __future__ import annotations
