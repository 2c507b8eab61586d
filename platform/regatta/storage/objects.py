"""Objects named by the SHA-256 of their bytes, so that one never changes and is kept once."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_ADDRESS = re.compile(r"[0-9a-f]{64}")


class TooLarge(Exception):
    """More bytes than allowed came in; nothing of them was kept."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Bytes that have come in and are not kept yet: `file` can be read and sought."""

    file: IO[bytes]
    path: Path
    sha256: str
    size_bytes: int


class FolderStore:
    """An object store in a folder of its own; safe for any number of processes.

    It takes bytes in two steps, so that they can be looked through before they are kept.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def receive(self, chunks: Iterable[bytes], *, max_bytes: int) -> Iterator[Draft]:
        """Write `chunks` to a draft, which is gone after the block unless it was kept.

        Raises: TooLarge as soon as more than `max_bytes` have come.
        """
        incoming = self._root / "incoming"
        incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=incoming, delete=False) as file:
            path = Path(file.name)
            try:
                digest, size = hashlib.sha256(), 0
                for chunk in chunks:
                    size += len(chunk)
                    if size > max_bytes:
                        raise TooLarge(max_bytes)
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                file.seek(0)
                yield Draft(file, path, digest.hexdigest(), size)
            finally:
                path.unlink(missing_ok=True)

    def keep(self, draft: Draft) -> str:
        """Make a draft an object, durably, and return its address."""
        os.fsync(draft.file.fileno())
        place = self._place(draft.sha256)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.path.replace(place)
        folder = os.open(place.parent, os.O_RDONLY)  # where the name is kept
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return draft.sha256

    def local_path(self, address: str) -> Path:
        """Where the object can be read.

        Raises: FileNotFoundError when there is none of that address.
        """
        place = self._place(address)
        if not place.is_file():
            raise FileNotFoundError(address)
        return place

    def addresses(self) -> Iterator[str]:
        """Of every object that is kept."""
        names = (place.name for place in self._root.glob("[0-9a-f][0-9a-f]/*"))
        return filter(_ADDRESS.fullmatch, names)  # a file system may leave files of its own

    def drop_drafts(self, *, older_than_s: float) -> None:
        """Drop what a process was killed over while it came in."""
        for draft in (self._root / "incoming").glob("*"):
            with suppress(FileNotFoundError):  # kept or dropped by its own process just now
                if time.time() - draft.stat().st_mtime > older_than_s:
                    draft.unlink()

    def delete(self, address: str) -> None:
        self._place(address).unlink(missing_ok=True)

    def _place(self, address: str) -> Path:
        if not _ADDRESS.fullmatch(address):
            raise ValueError(f"not an address of an object: {address!r}")
        return self._root / address[:2] / address
