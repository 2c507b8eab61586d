"""The supervisor with children that die, hang and refuse: real processes, real signals."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from regatta.embedded.supervisor import (
    Failed,
    Lines,
    Service,
    Stopped,
    Supervisor,
    see_off_the_last_ones,
)

WAIT_S = 30.0
LIVES = "import time; time.sleep(600)"
IGNORES = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
LEAVES_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
child.wait()
"""


def until(true: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.02)


def a_service(name: str, code: str = LIVES, **given) -> Service:
    argv = (sys.executable, "-c", code)
    return Service(name=name, argv=argv, environ=dict(os.environ), **given)


def pid_of(pids: Path, name: str) -> int:
    """The pid of a service that runs now, 0 when it does not."""
    file = pids / f"{name}.pid"
    with contextlib.suppress(FileNotFoundError, IndexError):
        return int(file.read_text().split()[0])
    return 0


def said(supervisor: Supervisor) -> str:
    assert isinstance(supervisor.lines.out, io.StringIO)
    return supervisor.lines.out.getvalue()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    ours = Supervisor(folder=tmp_path, pids=tmp_path, lines=Lines(out=io.StringIO()))
    yield ours
    ours.stop()


def test_a_killed_child_is_started_again(supervisor: Supervisor, tmp_path: Path):
    supervisor.keep(a_service("web"))
    until(lambda: pid_of(tmp_path, "web"), "started")
    first = pid_of(tmp_path, "web")
    os.kill(first, signal.SIGKILL)
    until(lambda: pid_of(tmp_path, "web") not in {0, first}, "started again")
    assert "web       │ ended by SIGKILL; starting it again in 0.5 s" in said(supervisor)


def test_a_child_that_ends_at_once_is_tried_ever_later(supervisor: Supervisor):
    supervisor.keep(a_service("web", "raise SystemExit(3)"))
    until(lambda: "ended with 3; starting it again in 1 s" in said(supervisor), "a third try")
    assert "ended with 3; starting it again in 0.5 s" in said(supervisor)


def test_a_child_that_cannot_be_prepared_is_tried_again(supervisor: Supervisor, tmp_path: Path):
    tries: list[int] = []

    def prepare() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("not yet")

    supervisor.keep(a_service("web", prepare=prepare))
    until(lambda: pid_of(tmp_path, "web"), "started")
    assert "web       │ could not be started: not yet" in said(supervisor)


def test_what_a_killed_child_left_behind_goes_with_it(supervisor: Supervisor, tmp_path: Path):
    supervisor.keep(a_service("worker", LEAVES_A_CHILD))
    until(lambda: "child" in said(supervisor), "has a child")
    grandchild = psutil.Process(int(said(supervisor).split()[-1]))
    os.kill(pid_of(tmp_path, "worker"), signal.SIGKILL)
    until(lambda: not grandchild.is_running(), "the grandchild is gone")


def test_a_child_that_does_not_heed_its_signal_is_killed(supervisor: Supervisor, tmp_path: Path):
    supervisor.keep(a_service("web", IGNORES, grace_s=0.2))
    until(lambda: "deaf" in said(supervisor), "it is deaf")
    child = psutil.Process(pid_of(tmp_path, "web"))
    supervisor.stop()
    assert not child.is_running()
    assert "still there after 0.2 s: killed" in said(supervisor)


def test_a_stop_goes_in_reverse_order_and_starts_nothing_again(
    supervisor: Supervisor, tmp_path: Path
):
    for name in ("first", "second"):
        supervisor.keep(a_service(name))
        until(lambda name=name: pid_of(tmp_path, name), f"{name} runs")
    order: list[str] = []
    watched = {name: psutil.Process(pid_of(tmp_path, name)) for name in ("first", "second")}
    watchers = [
        threading.Thread(target=lambda n=name, p=process: (p.wait(), order.append(n)))
        for name, process in watched.items()
    ]
    for watcher in watchers:
        watcher.start()
    supervisor.stop()
    for watcher in watchers:
        watcher.join()
    assert order == ["second", "first"]
    assert [*tmp_path.glob("*.pid")] == []


def test_only_the_named_are_stopped(supervisor: Supervisor, tmp_path: Path):
    for name in ("postgres", "web"):
        supervisor.keep(a_service(name))
        until(lambda name=name: pid_of(tmp_path, name), f"{name} runs")
    supervisor.stop(["web"])
    assert psutil.pid_exists(pid_of(tmp_path, "postgres"))
    assert pid_of(tmp_path, "web") == 0


def test_a_step_that_fails_stops_the_start(supervisor: Supervisor):
    with pytest.raises(Failed, match="migrate ended with 4"):
        supervisor.run_through(a_service("migrate", "print('no table'); raise SystemExit(4)"))
    assert said(supervisor) == "migrate   │ no table\n"


def test_a_step_that_goes_on_is_ended_when_somebody_asks_to_stop(supervisor: Supervisor):
    supervisor.stop_asked.set()
    with pytest.raises(Stopped):
        supervisor.run_through(a_service("migrate"))


def test_waiting_ends_when_somebody_asks_to_stop(supervisor: Supervisor):
    supervisor.stop_asked.set()
    with pytest.raises(Stopped):
        supervisor.wait_until(lambda: False, what="the moon")


@pytest.fixture
def handlers() -> Iterator[None]:
    """Whatever a test does to the signals of this process is undone."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_does_not_interrupt_the_wait_ends_it(supervisor: Supervisor):
    supervisor.heed_signals()
    # To another thread, as the kernel may: the main one is not interrupted, as by a signal that
    # comes just before it waits.
    other = threading.Thread(target=time.sleep, args=(WAIT_S,), daemon=True)
    other.start()
    sent = threading.Timer(0.2, signal.pthread_kill, args=(other.ident, signal.SIGTERM))
    sent.start()
    assert supervisor.stop_asked.wait(WAIT_S)
    sent.join()


@pytest.mark.usefixtures("handlers")
def test_a_second_signal_kills_what_does_not_heed_the_first(supervisor: Supervisor):
    supervisor.heed_signals()
    supervisor.keep(a_service("web", IGNORES, grace_s=WAIT_S))
    until(lambda: "deaf" in said(supervisor), "it is deaf")
    os.kill(os.getpid(), signal.SIGTERM)
    assert supervisor.stop_asked.wait(WAIT_S)
    again = threading.Timer(0.2, os.kill, args=(os.getpid(), signal.SIGTERM))
    again.start()
    supervisor.stop()
    again.join()
    assert "killed" not in said(supervisor)  # by the grace running out


def test_waiting_ends_when_a_service_cannot_live(supervisor: Supervisor):
    supervisor.keep(a_service("postgres", "raise SystemExit('no disk')"))
    with pytest.raises(Failed, match="postgres ended 3 times; its lines above say why"):
        supervisor.wait_until(lambda: False, what="postgres")
    assert "postgres  │ no disk" in said(supervisor)


def test_waiting_has_an_end(supervisor: Supervisor):
    with pytest.raises(Failed, match=r"the moon was not ready within 0\.1 s"):
        supervisor.wait_until(lambda: False, what="the moon", within_s=0.1)


def test_what_a_killed_supervisor_left_is_ended_by_the_next(tmp_path: Path):
    orphan = subprocess.Popen([sys.executable, "-c", LIVES])
    created_s = psutil.Process(orphan.pid).create_time()
    (tmp_path / "web.pid").write_text(f"{orphan.pid} {created_s}")
    see_off_the_last_ones(tmp_path, within_s=0.1)
    assert not psutil.pid_exists(orphan.pid)
    orphan.wait()
    assert [*tmp_path.iterdir()] == []


def test_a_process_that_took_over_the_number_is_left_alone(tmp_path: Path):
    stranger = subprocess.Popen([sys.executable, "-c", LIVES])
    try:
        (tmp_path / "web.pid").write_text(f"{stranger.pid} 12345.0")
        see_off_the_last_ones(tmp_path, within_s=0.1)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_pid_file_cut_short_by_a_kill_is_dropped(tmp_path: Path):
    (tmp_path / "web.pid").write_text("")
    see_off_the_last_ones(tmp_path, within_s=0.1)
    assert [*tmp_path.iterdir()] == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_are_coloured_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for out, shown in [(Terminal(), "\x1b[36mweb       │ \x1b[0mhello\n"), (io.StringIO(), None)]:
        Lines(out=out).say("web", "hello")
        assert out.getvalue() == (shown or "web       │ hello\n")


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    Lines(out=out).say("web", "hello")
    assert out.getvalue() == "web       │ hello\n"
