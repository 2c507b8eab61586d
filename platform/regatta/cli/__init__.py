"""The `regatta` command.

What a command does stands in the module of its name, loaded only when it is called, so that help
is there at once.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Annotated, Any

import typer

from regatta.cli import plan

app = typer.Typer(
    name="regatta",
    help="Run Regatta: a self-hosted platform for AI clusters.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]


@app.command(epilog="Example: regatta up --port 8080")
def up(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    keep_clusters: Annotated[
        bool, typer.Option("--keep-clusters", help="Leave local clusters running at the end.")
    ] = False,
    only: Annotated[
        str,
        typer.Option(
            help="Run one part alone, for containers: prepare (which ends), web, worker, ticker."
        ),
    ] = "",
) -> None:
    """Run the portal with all it needs, until Ctrl-C."""
    _call("up", host=host, port=port, keep_clusters=keep_clusters, only=only)


@app.command(epilog="Example: regatta demo --exit")
def demo(
    host: Host = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port to listen on; by itself 8000 or a free one."),
    ] = 0,
    exit_: Annotated[
        bool, typer.Option("--exit", help="Stop everything once the job is done; so with CI=true.")
    ] = False,
) -> None:
    """Start the portal, make a cluster, train a small model on it, and show the result."""
    in_ci = os.environ.get("CI", "").lower() not in {"", "0", "false", "no"}
    _call("demo", host=host, port=port, leave=exit_ or in_ci)


@app.command(epilog="Example: regatta link --user alice")
def link(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    user: Annotated[str, typer.Option(help="Whom it lets in; by itself the first admin.")] = "",
) -> None:
    """Print a link that signs a person in once, who then may choose a password."""
    _call("link", host=host, port=port, user=user)


@app.command(epilog="Example: regatta doctor --json")
def doctor(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check the set-up and the data, and say what to do about each finding."""
    _call("doctor", host=host, port=port, as_json=as_json)


app.add_typer(plan.app, name="plan")


def main() -> None:
    """The console script."""
    app()


def _call(module: str, **options: Any) -> None:
    raise typer.Exit(import_module(f"regatta.cli.{module}").run(**options))
