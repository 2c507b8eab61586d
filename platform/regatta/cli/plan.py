"""`regatta plan`: the planner for scripts. Each command stands in a module of its own."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from regatta.cli import plan_search, plan_size

app = typer.Typer(
    help="Predict, search and size training runs.", no_args_is_help=True, rich_markup_mode=None
)


@app.command(epilog="Example: regatta plan predict runs.csv --json")
def predict(
    runs: Annotated[Path, typer.Argument(help="A CSV table with a row per run; - for stdin.")],
    as_json: plan_search.AsJson = False,
) -> None:
    """Predict step time and peak memory of every run in a table."""
    _call("plan_predict", runs=runs, as_json=as_json)


app.command("search", epilog=plan_search.SEARCH)(plan_search.search)
app.command("mixed", epilog=plan_search.MIXED)(plan_search.mixed)
app.command("size", epilog=plan_size.EXAMPLE)(plan_size.size)


def _call(module: str, **options: Any) -> None:
    raise typer.Exit(import_module(f"regatta.cli.{module}").run(**options))
