"""`python -m regatta.cli`: the command where no console script is at hand."""

from __future__ import annotations

from regatta.cli import main

main()
