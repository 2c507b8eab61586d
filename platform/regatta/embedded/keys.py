"""Secrets that a portal makes for itself at its first start and keeps in files."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path


def kept_secret(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(48)) -> str:
    """The secret in `path`; made at the first call, readable by its owner alone.

    Two processes that start together read the same one: the file appears whole, by a link. Its
    folder, made by whomever, is closed to others.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _close(path.parent)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(make())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass  # the other process was first, and its secret is the one
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8").strip()


def _close(folder: Path) -> None:
    """Others may neither list it nor write there; the way through stays as it is.

    PostgreSQL, where it must run as another user, has its data behind it.
    """
    found = folder.stat()
    if found.st_mode & 0o066 and found.st_uid == os.getuid():
        folder.chmod(stat.S_IMODE(found.st_mode) & ~0o066)
