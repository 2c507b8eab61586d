"""Processes of nodes, known by the marks in their environment, which all their children inherit.

So a node is found again by whoever looks, and also what a dead parent has left behind.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

HOME, CLUSTER, NODE = "REGATTA_HOME", "REGATTA_CLUSTER", "REGATTA_NODE"
START = ("ray.scripts.scripts", "start")  # in the command line of a node's first process


@dataclass(frozen=True, slots=True)
class Marked:
    """A living process of a node. first: the one that started the others, and ends them."""

    process: psutil.Process
    cluster: str
    node: str
    first: bool


def marks(home: Path, *, cluster: str, node: str) -> dict[str, str]:
    """The environment by which the processes of a node are known."""
    return {HOME: str(home.absolute()), CLUSTER: cluster, NODE: node}


def marked(home: Path) -> dict[str, list[Marked]]:
    """The living processes of every node of `home`, by the node's name."""
    ours = str(home.absolute())
    found: dict[str, list[Marked]] = {}
    for process in psutil.process_iter():
        # Of others' processes the environment is not ours to read, and ours may end meanwhile.
        with suppress(psutil.Error, FileNotFoundError):
            environment = process.environ()
            node = environment.get(NODE, "")
            if node and environment.get(HOME) == ours:
                words = process.cmdline()
                first = any(pair == START for pair in pairwise(words))
                one = Marked(process, environment.get(CLUSTER, ""), node, first)
                found.setdefault(node, []).append(one)
    return found


def spawn(command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
    """Start `command` apart from this process: it lives on when this one ends.

    Raises: OSError, subprocess.SubprocessError.
    """
    with log.open("ab") as output:
        subprocess.run(
            # It leaves at once and the node has no parent but init: no worker must wait for it.
            ["setsid", "--fork", *command],
            env=environment,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
            timeout=10,
        )


def ask(tree: Collection[Marked]) -> None:
    """Ask a node to end, which lets what works there finish for up to half a minute."""
    for one in tree:
        if one.first:
            with suppress(psutil.NoSuchProcess):
                one.process.terminate()


def kill(tree: Collection[Marked]) -> None:
    """End a node at once: the first processes first, lest they report what dies."""
    for one in sorted(tree, key=lambda one: not one.first):
        with suppress(psutil.NoSuchProcess):
            one.process.send_signal(signal.SIGKILL)


def end_all(home: Path, *, grace_s: float = 3.0) -> int:
    """End every node of `home`, waiting until they are gone; the number of their processes."""
    trees = marked(home)
    everything = [one for tree in trees.values() for one in tree]
    ask(everything)
    psutil.wait_procs([one.process for one in everything if one.first], timeout=grace_s)
    left = everything
    while left:
        kill(left)
        psutil.wait_procs([one.process for one in left], timeout=1.0)
        left = [one for tree in marked(home).values() for one in tree]
    return len(everything)
