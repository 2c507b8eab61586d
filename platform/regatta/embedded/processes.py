"""Child processes that end with the process that started them, whatever ends it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # loaded here: a child just forked should call and not import

# The leash outlives a kill -9 of whoever holds it: the pipe closes, it ends the server and
# sweeps the folder. $0 is the folder, $1 the signal, the rest the command.
_LEASH = """
stop=$1; shift
trap '' INT TERM HUP
"$@" </dev/null &
server=$!
cat >/dev/null
kill -"$stop" $server 2>/dev/null
wait $server
rm -rf "$0"
"""


class DidNotStart(RuntimeError):
    """A server did not get ready."""


def package_dir(name: str) -> Path:
    """The folder of an installed package, found without running its code.

    Raises: DidNotStart when it is not installed.
    """
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise DidNotStart(f"the package {name} is not installed; run: make setup")
    return Path(spec.submodule_search_locations[0])


def environ_without_postgres() -> dict[str, str]:
    """Ours without PG* variables, which would lead server and tools elsewhere."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")}


def dying_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends `death_signal` when the present process ends.

    Of Linux. Elsewhere what a killed parent left behind is ended by the next start.
    """
    parent = os.getpid()

    def ask_the_kernel() -> None:
        if sys.platform != "linux":
            return
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask_the_kernel


@contextlib.contextmanager
def leashed(argv: Sequence[str], *, folder: Path, stop: str, log: Path) -> Iterator[None]:
    """Run a server that never outlives us, then remove `folder`; `stop` is a signal's name."""
    with log.open("ab") as out:
        leash = subprocess.Popen(
            ["/bin/sh", "-c", _LEASH, str(folder), stop, *argv],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env=environ_without_postgres(),
            start_new_session=True,  # a signal to our group must not reach the leash
        )
    try:
        yield
    finally:
        leash.communicate()  # closes the pipe


def wait_until(ready: Callable[[], bool], *, what: str, within_s: float, log: Path) -> None:
    """Ask every few milliseconds. Raises: DidNotStart with the log's last lines."""
    deadline = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > deadline:
            raise DidNotStart(f"{what} was not ready within {within_s:g} s:\n{tail(log)}")
        time.sleep(0.02)


def tail(log: Path, *, lines: int = 15) -> str:
    """The last lines of a log file, empty where there is none."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
