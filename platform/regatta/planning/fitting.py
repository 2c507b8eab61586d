"""`python -m regatta.planning.fitting PAGE`: fit the constants anew and write the report.

Writes calibration.json from its own priors and the shipped runs, and the page of figures.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from regatta.planning import accuracy, calibration, report, runs


def main(page: Path) -> None:
    """Fit, save and report. Takes about a minute."""
    table = accuracy.readable(runs.published())
    prior = calibration.shipped()
    fitted = accuracy.fitted(table, prior)
    text = json.dumps(asdict(fitted), indent=1)
    calibration.FILE.write_text(text + "\n", encoding="utf-8")
    held = list(report.held_out(table, prior, report.SEEDS))
    records = [
        *report.shipped(table, fitted),
        *held,
        *report.means(held),
        *report.one_node(fitted),
        *report.worst(table, fitted),
    ]
    page.write_text(report.page(records), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
