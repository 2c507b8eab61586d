"""Where bytes are kept by what they are: a folder now, an object store behind the same words."""

from __future__ import annotations
