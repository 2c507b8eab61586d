"""Files that are there whole or not at all, and the checkpoints made of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_KEEP = 2


def save(folder: Path, *, step: int, state: dict[str, Any]) -> Path:
    """Write the state after `step` steps, then drop all but the newest checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08}.pt"
    write_whole(path, lambda part: torch.save(state, part))
    for old in _complete(folder)[:-_KEEP]:
        old.unlink()
    return path


def newest(folder: Path) -> dict[str, Any] | None:
    """The state of the newest checkpoint, or None if there is none."""
    found = _complete(folder)
    return torch.load(found[-1], weights_only=True) if found else None


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, and give it that name once it is on the disk.

    A process killed half-way leaves the old file, or none; never a part of the new one.
    """
    part = path.with_name(path.name + ".part")
    write(part)
    _to_disk(part)
    part.replace(path)
    _to_disk(path.parent)


def _complete(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
