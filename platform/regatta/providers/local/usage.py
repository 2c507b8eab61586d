"""What each node of this machine uses: the sum over its own processes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from regatta.providers.local.processes import marked


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """cpus: how many were busy on average since the last look. memory_bytes: not shared."""

    cpus: float
    memory_bytes: int


class Meter:
    """Compares each look with the one before; at the first, no CPU is known to be busy."""

    def __init__(self) -> None:
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._at_s: float | None = None

    def look(self, home: Path) -> Mapping[str, NodeUsage]:
        """By the name of the node."""
        now_s, cpu_s = time.monotonic(), {}
        usage: dict[str, NodeUsage] = {}
        for node, tree in marked(home).items():
            spent_s, memory_bytes = 0.0, 0
            for one in tree:
                with suppress(psutil.NoSuchProcess):
                    times, memory = one.process.cpu_times(), one.process.memory_info()
                    who, total_s = (
                        (one.process.pid, one.process.create_time()),
                        times.user + times.system,
                    )
                    cpu_s[who] = total_s
                    spent_s += total_s - self._cpu_s.get(who, total_s)
                    memory_bytes += memory.rss - getattr(memory, "shared", 0)
            passed_s = now_s - self._at_s if self._at_s is not None else 0.0
            usage[node] = NodeUsage(spent_s / passed_s if passed_s > 0 else 0.0, memory_bytes)
        self._cpu_s, self._at_s = cpu_s, now_s
        return usage
