"""Keeps child processes running: readiness in order, restart with back-off, a clean stop.

No library does all of it: honcho stops all when one dies and leaves orphans when killed itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from regatta.embedded.processes import dying_with_parent

_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 15.0
_LAST_LINES_S = 1.0
_KILLED_S = 10.0  # in which the kernel ends what was killed
_HOPELESS = 3  # ends of a service before everything is ready
_LIVED_WELL_S = 30.0  # a child that lived so long starts again without a growing delay
_COLOURS = (36, 33, 32, 35, 34, 31, 96, 93)


class Failed(Exception):
    """A step of the start did not succeed; the lines above say why."""


class Stopped(Exception):
    """Somebody asked to stop while the start was still under way."""


class StopAsked:
    """Whether somebody asked to stop, for a main thread that waits and for signal handlers.

    No `threading.Event`: a signal that comes just before its wait, or that another thread gets,
    does not end that wait, since Python runs handlers in the main thread alone; and a handler
    that sets it while the main thread holds its lock waits for ever.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)  # as `set_wakeup_fd` wants it
        for end in (self._read, self._write):
            weakref.finalize(self, os.close, end)

    def heed_signals(self) -> None:
        """Each signal that has a handler asks to stop, by the kernel's own call to it."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def set(self) -> None:
        """Ask. Never taken back, so what was written is never read."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"\0")

    def wait(self, within_s: float | None = None) -> bool:
        """Whether it was asked by then; None waits for ever."""
        return bool(select.select([self._read], [], [], within_s)[0])


@dataclass(frozen=True, slots=True)
class Service:
    """A child that is to run for as long as we do."""

    name: str
    argv: tuple[str, ...]
    environ: dict[str, str]
    fds: tuple[int, ...] = ()  # open files that it inherits, such as a listening socket
    prepare: Callable[[], None] = lambda: None  # before every start
    stop: signal.Signals = signal.SIGTERM
    death: signal.Signals = signal.SIGKILL  # what it gets from the kernel when we are killed
    grace_s: float = 5.0


@dataclass(slots=True)
class Lines:
    """The one place that writes: a line at a time, with the name of its service."""

    out: IO[str] = field(default_factory=lambda: sys.stdout)
    _colours: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, name: str, line: str) -> None:
        """Write `line` under `name`. A reader that is gone stops nothing."""
        prefix = f"{name:<10}│ "
        if self.out.isatty() and not os.environ.get("NO_COLOR"):
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        with self._lock, contextlib.suppress(OSError, ValueError):
            self.out.write(f"{prefix}{line}\n")
            self.out.flush()

    def follow(self, name: str, pipe: IO[str]) -> None:
        """Pass on what a child writes, until it and its own children closed the pipe."""
        with pipe:
            for line in pipe:
                self.say(name, line.rstrip("\n"))

    def follow_aside(self, name: str, process: subprocess.Popen[str]) -> threading.Thread:
        """`follow` in a thread."""
        thread = threading.Thread(target=self.follow, args=(name, process.stdout), daemon=True)
        thread.start()
        return thread


class Keeper(threading.Thread):
    """Runs one service again whenever it ends, until told to stop.

    The thread that starts a child must live as long as it: the kernel's death signal is bound
    to the thread.
    """

    def __init__(self, service: Service, *, lines: Lines, pids: Path, folder: Path) -> None:
        super().__init__(name=service.name, daemon=True)
        self.service = service
        self.ends = 0  # how often it ended without being asked to
        self._lines = lines
        self._pid_file = pids / f"{service.name}.pid"
        self._folder = folder
        self._stopping = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._starting = threading.Lock()

    def run(self) -> None:
        """Start, wait, say how it ended, wait a little longer each time."""
        delay_s = _FIRST_DELAY_S
        while not self._stopping.is_set():
            started_s = time.monotonic()
            how = self._run_once()
            if self._stopping.is_set():
                break
            self.ends += 1
            if time.monotonic() - started_s > _LIVED_WELL_S:
                delay_s = _FIRST_DELAY_S
            self._lines.say(self.name, f"{how}; starting it again in {delay_s:g} s")
            self._stopping.wait(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)

    def ask_to_stop(self) -> None:
        """Send its stop signal; it is not started again."""
        self._signal(self.service.stop)

    def kill(self) -> None:
        """End it and its group at once."""
        self._signal(signal.SIGKILL)

    def _run_once(self) -> str:
        try:
            self.service.prepare()
            with self._starting:  # a stop comes before the start or finds the process
                if self._stopping.is_set():
                    return "not started"
                process = self._process = self._start()
        except Exception as error:  # noqa: BLE001  the rim: whatever it was, the next try may do
            return f"could not be started: {error}"
        code = process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own children, if it left any
        with self._starting:
            self._process = None
            self._pid_file.unlink(missing_ok=True)
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"

    def _start(self) -> subprocess.Popen[str]:
        process = start(self.service, folder=self._folder)
        self._pid_file.write_text(f"{process.pid} {psutil.Process(process.pid).create_time()}")
        self._lines.follow_aside(self.name, process)
        return process

    def _signal(self, wanted: signal.Signals) -> None:
        with self._starting:
            self._stopping.set()
            if self._process is None:
                return
            with contextlib.suppress(ProcessLookupError):
                if wanted is signal.SIGKILL:
                    os.killpg(self._process.pid, wanted)
                else:
                    self._process.send_signal(wanted)


def start(service: Service, *, folder: Path) -> subprocess.Popen[str]:
    """Start a child in a session of its own, so that Ctrl-C reaches us alone."""
    return subprocess.Popen(
        service.argv,
        env=service.environ,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=service.fds,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=dying_with_parent(service.death),
    )


class Supervisor:
    """Starts services in order, keeps them, and stops them in reverse."""

    def __init__(self, *, folder: Path, pids: Path, lines: Lines) -> None:
        self.stop_asked = StopAsked()
        self._signals = 0
        self.lines = lines
        self._folder = folder
        self._pids = pids
        self._keepers: list[Keeper] = []

    def heed_signals(self) -> None:
        """SIGTERM, SIGINT and a lost terminal stop cleanly; a second one kills."""
        self.stop_asked.heed_signals()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, self._on_signal)

    def keep(self, service: Service) -> None:
        """Start `service` and keep it running."""
        keeper = Keeper(service, lines=self.lines, pids=self._pids, folder=self._folder)
        self._keepers.append(keeper)
        keeper.start()

    def run_through(self, step: Service) -> None:
        """Run a command that ends. Raises: Failed, Stopped."""
        process = start(step, folder=self._folder)
        follower = self.lines.follow_aside(step.name, process)
        try:
            self.wait_until(lambda: process.poll() is not None, what=step.name)
        finally:
            process.kill()
            process.wait()
            follower.join(_LAST_LINES_S)
        if process.returncode:
            raise Failed(f"{step.name} ended with {process.returncode}")

    def wait_until(self, ready: Callable[[], bool], *, what: str, within_s: float = 120.0) -> None:
        """Ask until it is, while starting.

        Raises: Failed when it takes too long or a service cannot live, Stopped when told to.
        """
        deadline = time.monotonic() + within_s
        while not ready():
            if dying := [keeper.name for keeper in self._keepers if keeper.ends >= _HOPELESS]:
                raise Failed(f"{dying[0]} ended {_HOPELESS} times; its lines above say why")
            if self.stop_asked.wait(0.05):
                raise Stopped
            if time.monotonic() > deadline:
                raise Failed(f"{what} was not ready within {within_s:g} s")

    def stop(self, names: Sequence[str] = ()) -> None:
        """Stop these services together (all that are left, one by one, when none is named)."""
        chosen = [keeper for keeper in self._keepers if keeper.name in names]
        groups = [chosen] if names else [[keeper] for keeper in reversed(self._keepers)]
        for group in groups:
            for keeper in group:
                keeper.ask_to_stop()
            for keeper in group:
                self._end(keeper)

    def _end(self, keeper: Keeper) -> None:
        keeper.join(keeper.service.grace_s)
        if keeper.is_alive():
            self.lines.say(keeper.name, f"still there after {keeper.service.grace_s:g} s: killed")
            keeper.kill()
            keeper.join()
        self._keepers.remove(keeper)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._signals += 1
        if self._signals == 1:
            return  # `stop_asked` knows it already
        for keeper in self._keepers:
            threading.Thread(target=keeper.kill, daemon=True).start()  # never wait in a handler


def see_off_the_last_ones(pids: Path, *, within_s: float = 5.0) -> None:
    """Wait for what a killed supervisor left, then end it; the caller holds the lock."""
    deadline = time.monotonic() + within_s
    for file in pids.glob("*.pid"):
        pid, created_s = file.read_text().split() or ("0", "0")
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(pid))
            if process.create_time() == float(created_s):  # else the number is another's now
                _see_off(process, within_s=max(0.0, deadline - time.monotonic()))
        file.unlink()


def _see_off(process: psutil.Process, *, within_s: float) -> None:
    try:
        process.wait(within_s)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(_KILLED_S)
