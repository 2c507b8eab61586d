"""`regatta doctor`: the set-up, then the data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape

from regatta.cli import setup_checks
from regatta.embedded import paths, portal
from regatta.embedded.portal import Portal
from regatta.embedded.processes import DidNotStart
from regatta.health.finding import Finding

_DATA_S = 120


def run(*, host: str, port: int, as_json: bool) -> int:
    """Look at everything; answers 1 when anything is an error."""
    at = Portal(home=paths.home(), host=host, port=port)
    found = [*setup_checks.findings(at)]
    if not any(one.code == "run_folder" for one in found):
        found += _of_the_data(at)
    errors = sum(one.severity == "error" for one in found)
    console = Console(highlight=False)
    if as_json:
        shown = {"ok": not errors, "findings": [asdict(one) for one in found]}
        console.print_json(json.dumps(shown))
    else:
        _tell(console, found)
    return 1 if errors else 0


def _tell(console: Console, found: list[Finding]) -> None:
    for one in found:
        colour = "red" if one.severity == "error" else "yellow"
        console.print(f"[{colour}]{one.severity:<8}[/] {one.code}: {escape(one.what)}")
        console.print(f"         {escape(one.advice)}")
    if not found:
        console.print("All is well.")


def _of_the_data(at: Portal) -> Iterator[Finding]:
    if not portal.holder(at) and not portal.is_set("DATABASE_URL"):
        advice = "Start it and ask again: regatta up"
        yield Finding("data", "warning", "The portal does not run: data not checked", advice)
        return
    try:
        ran = subprocess.run(
            [*at.command("doctor"), "--json"],
            env=at.environ(),
            cwd=paths.project_root(),
            capture_output=True,
            text=True,
            check=False,
            timeout=_DATA_S,
        )
        found = json.loads(ran.stdout.splitlines()[-1])["findings"]
    except (subprocess.TimeoutExpired, DidNotStart, LookupError, ValueError) as error:
        last = "" if isinstance(error, subprocess.TimeoutExpired) else ran.stderr.strip()[-300:]
        advice = "Is DATABASE_URL right, and the server there?"
        yield Finding("data", "error", f"The data could not be checked: {last or error}", advice)
        return
    for one in found:
        yield Finding(**one)
