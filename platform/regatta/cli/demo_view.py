"""How a demonstration shows a training job: a live bar, and a summary at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_LINE_S = 5.0  # between lines where no bar can be drawn


class Training:
    """A bar on a terminal, else a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("waiting", total=None, told="")
        self._line_at_s = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, job: Mapping[str, Any], latest: Mapping[str, float]) -> None:
        """Draw what is known now of the job and of its newest measurements."""
        state, progress = job["state"], job["progress"] or {}
        step, total = progress.get("step"), progress.get("total_steps")
        words = state["state"] if step else (state["message"] or state["state"])
        told = "  ".join([*_measured(step, total, latest), f"${float(job['cost_usd'] or 0):.4f}"])
        self._bar.update(
            self._task, description=words, completed=step or 0, total=total, told=told
        )
        if not self._console.is_terminal and time.monotonic() >= self._line_at_s:
            self._line_at_s = time.monotonic() + _LINE_S
            self._console.print(f"  {words}  {told}", soft_wrap=True)


def summary(
    console: Console,
    *,
    said: Mapping[str, str],
    took_s: float,
    cost_usd: str | None,
    links: Mapping[str, str],
) -> None:
    """The outcome in a few lines."""
    table = Table.grid(padding=(0, 2))
    table.add_row("Loss", f"{said.get('first loss', '?')} → {said.get('final loss', '?')}")
    table.add_row("It writes", Text(said.get("sample", "?")))
    table.add_row("Took", f"{took_s:.0f} s")
    table.add_row("Cost", "unknown" if cost_usd is None else f"${float(cost_usd):.4f}")
    for name, address in links.items():
        table.add_row(name, Text(address, no_wrap=True, overflow="ignore"))
    console.print()
    console.print(table, soft_wrap=True)


def _measured(step: int | None, total: int | None, latest: Mapping[str, float]) -> list[str]:
    shown = [f"step {step}/{total}"] if step and total else []
    if "loss" in latest:
        shown.append(f"loss {latest['loss']:.3f}")
    if "tokens_per_s" in latest:
        shown.append(f"{latest['tokens_per_s']:,.0f} tokens/s")
    return shown
