"""`regatta demo` where it cannot succeed, or is told to stop: the whole of it is `make demo`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from regatta.embedded import paths

ROOT = Path(__file__).parents[2]
WAIT_S = 120.0


@pytest.fixture
def home() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    yield place
    for process in processes_of(place):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(paths.run_dir(place), ignore_errors=True)


def processes_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("REGATTA_HOME") == str(home)
            if ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def demo(home: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "regatta.cli", "demo", *options],
        env={**os.environ, "REGATTA_HOME": str(home)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As on a terminal: what a shell runs in the background is born deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def until(true: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.05)


def test_a_taken_port_fails_the_portal_by_name(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said, _ = (ran := demo(home, "--exit", "--port", port)).communicate(timeout=WAIT_S)
    assert ran.returncode == 1
    assert "The portal failed: it ended with 1" in said
    assert f"127.0.0.1:{port} cannot be listened on" in said
    assert processes_of(home) == []


def test_a_database_that_cannot_start_fails_the_portal_by_name(home: Path):
    (home / "postgres").mkdir()
    (home / "postgres" / "PG_VERSION").write_text("9.6\n")
    said, _ = (ran := demo(home, "--exit")).communicate(timeout=WAIT_S)
    assert ran.returncode == 1
    assert "The portal failed: it ended with 1" in said
    assert "could not access the server configuration file" in said
    assert "postgres ended 3 times" in said
    assert processes_of(home) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_it_half_way_stops_all_of_it(home: Path, number: signal.Signals):
    ran = demo(home)
    lock = home / "lock"
    until(lambda: lock.exists() and "pid" in json.loads(lock.read_text() or "{}"), "has begun")
    ran.send_signal(number)
    said, _ = ran.communicate(timeout=WAIT_S)
    assert ran.returncode == 1
    assert "Everything that was started has been stopped." in said
    assert processes_of(home) == []


def test_what_is_left_of_a_killed_demonstration_stops_by_itself(home: Path):
    ran = demo(home)
    until(lambda: (home / "lock").exists(), "has begun")
    ran.kill()
    ran.communicate(timeout=WAIT_S)
    until(lambda: processes_of(home) == [], "all ended")
