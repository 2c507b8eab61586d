"""Batches that wait for the portal, oldest first: some in memory, the rest in a file."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_IN_MEMORY = 64
_FILE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Packed:
    """One numbered delivery, ready to send; `body` is a single line."""

    points: int
    body: bytes


class Outbox:
    """First in, first out, within bounds. For one thread.

    in_memory: batches held in memory; what comes on top goes to the file `spill`, which is
    removed once it has been read.
    """

    def __init__(
        self, *, spill: Path, in_memory: int = _IN_MEMORY, file_bytes: int = _FILE_BYTES
    ) -> None:
        self._spill = spill
        self._in_memory = in_memory
        self._file_bytes = file_bytes
        self._memory: deque[Packed] = deque()
        self._in_file = 0
        self._read_at = 0

    def __len__(self) -> int:
        return len(self._memory) + self._in_file

    def put(self, batch: Packed) -> bool:
        """Keep a batch; False when there is no room for it."""
        if not self._in_file and len(self._memory) < self._in_memory:
            self._memory.append(batch)
            return True
        return self._write(batch)

    def first(self) -> Packed | None:
        """The oldest batch, which stays until `pop`."""
        if not self._memory and self._in_file:
            self._read_back()
        return self._memory[0] if self._memory else None

    def pop(self) -> Packed:
        return self._memory.popleft()

    def close(self) -> int:
        """Forget what is left; returns how many points that were."""
        left = 0
        while self.first():
            left += self.pop().points
        return left

    def _write(self, batch: Packed) -> bool:
        line = b"%d %s\n" % (batch.points, batch.body)
        try:
            with self._spill.open("ab") as file:
                if file.tell() + len(line) > self._file_bytes:
                    return False
                file.write(line)
        except OSError as error:
            log.warning("no room for telemetry in %s: %s", self._spill, error)
            return False
        self._in_file += 1
        return True

    def _read_back(self) -> None:
        with self._spill.open("rb") as file:
            file.seek(self._read_at)
            for _ in range(min(self._in_memory, self._in_file)):
                points, _, body = file.readline().rstrip(b"\n").partition(b" ")
                self._memory.append(Packed(int(points), body))
                self._in_file -= 1
            self._read_at = file.tell()
        if not self._in_file:
            self._spill.unlink()
            self._read_at = 0
