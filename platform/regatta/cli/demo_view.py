"""How a demonstration shows a training job: a live bar, and a summary at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

_LINE_S = 5.0  # between lines where no bar can be drawn


class Training:
    """A bar on a terminal, else a line now and then, when there is something new."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("waiting", total=None, told="")
        self._line_at_s = 0.0
        self._told: tuple[str, float] | None = None  # by the last line

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, job: Mapping[str, Any]) -> None:
        """Draw what is known now of the job."""
        state, progress = job["state"], job["progress"]
        step, total = progress.get("step"), progress.get("total_steps")
        words = state["state"] if step else (state["message"] or state["state"])
        cost = f"${float(job['cost_usd'] or 0):.4f}"
        told = "  ".join([*_measured(progress, job["eta_s"]), cost])
        done = step or 0
        self._bar.update(self._task, description=words, completed=done, total=total, told=told)
        now = words, done
        if self._console.is_terminal or now == self._told:
            return
        if time.monotonic() >= self._line_at_s:
            self._told = now
            self._line_at_s = time.monotonic() + _LINE_S
            self._console.print(f"  {words}  {told}")


def summary(
    console: Console,
    *,
    said: Mapping[str, str],
    took_s: float,
    cost_usd: str | None,
    links: Mapping[str, str],
) -> None:
    """The outcome in a few lines."""
    rows = {
        "Loss": f"{said.get('first loss', '?')} → {said.get('final loss', '?')}",
        "It writes": said.get("sample", "?"),
        **_training(said),
        "Took": f"{took_s:.0f} s",
        "Cost": "unknown" if cost_usd is None else f"${float(cost_usd):.4f}",
        **links,
    }
    console.print()
    for name, value in rows.items():
        console.print(f"{name:<18} {value}")


def _training(said: Mapping[str, str]) -> dict[str, str]:
    """How long training itself took, and whether its time limit ended it; nothing if unknown."""
    told = "; ".join(said[key] for key in ("trained", "cut") if key in said)
    return {"Training": told} if told else {}


def _measured(progress: Mapping[str, float], eta_s: float | None) -> list[str]:
    shown = []
    if "step" in progress:
        of = f"/{progress['total_steps']:.0f}" if "total_steps" in progress else ""
        shown.append(f"step {progress['step']:.0f}{of}")
    if "loss" in progress:
        shown.append(f"loss {progress['loss']:.3f}")
    if "tokens_per_s" in progress:
        shown.append(f"{progress['tokens_per_s']:,.0f} tokens/s")
    return shown if eta_s is None else [*shown, f"{eta_s:.0f} s left"]
