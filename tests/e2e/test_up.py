"""`regatta up` as a person runs it, and whatever may be killed of it."""

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
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest

from regatta.embedded import paths, portal
from regatta.embedded.portal import Portal
from regatta.providers.local.processes import marks

WAIT_S = 90.0
ROOT = Path(__file__).parents[2]
PARTS = ["postgres", "broker", "web", "worker", "ticker"]
NOBODY = 65534


def until(true: Callable[[], object], what: str, within_s: float = WAIT_S) -> None:
    deadline_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.05)


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Up:
    """A portal in a home of its own."""

    home: Path
    port: int = field(default_factory=a_free_port)
    prefix: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def at(self) -> Portal:
        return Portal(home=self.home, port=self.port)

    def command(self, name: str = "up") -> list[str]:
        return [*self.prefix, sys.executable, "-m", "regatta.cli", name, "--port", str(self.port)]

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("REGATTA_", "DJANGO_"))}
        return kept | {"REGATTA_HOME": str(self.home), "NO_COLOR": "1"} | self.environ

    def start(self) -> subprocess.Popen[bytes]:
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                self.command(), env=self.environment(), cwd=ROOT, stdout=log, stderr=log
            )

    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def until_ready(self, process: subprocess.Popen[bytes]) -> None:
        def ready() -> bool:
            assert process.poll() is None, f"it ended with {process.returncode}:\n{self.log()}"
            return portal.health(self.at)[0] == 200

        try:
            until(ready, "ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{portal.health(self.at)}\n{self.log()}") from None

    def pid(self, part: str) -> int:
        """Of a part that runs now, 0 when it does not."""
        with contextlib.suppress(FileNotFoundError, IndexError):
            return int((paths.run_dir(self.home) / f"{part}.pid").read_text().split()[0])
        return 0

    def left(self) -> list[str]:
        """All processes that have anything to do with this home."""
        mark, found = str(self.home), []
        sockets = str(paths.run_dir(self.home))
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                words = [*process.cmdline(), process.environ().get("REGATTA_HOME", "")]
                if any(word.startswith((mark, sockets)) for word in words):
                    found.append(f"{process.pid} {process.name()}")
        return found

    def users(self) -> list[str]:
        with psycopg.connect(paths.database_url(self.home)) as connection:
            rows = connection.execute("SELECT username FROM accounts_user ORDER BY id")
            return [name for (name,) in rows]


@contextlib.contextmanager
def a_home() -> Iterator[Path]:
    """Short and outside pytest's own folders; swept with all that still runs in it."""
    home = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    try:
        yield home
    finally:
        for word in Up(home).left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(word.split()[0]), signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)
        mark = paths.run_dir(home).name.rsplit("-", 1)[1]
        for folder in Path("/tmp").glob(f"regatta-*-{mark}"):  # of whichever user
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(up: Up) -> Iterator[subprocess.Popen[bytes]]:
    process = up.start()
    try:
        up.until_ready(process)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"it did not stop within {WAIT_S:g} s:\n{up.log()}")


@pytest.fixture
def up() -> Iterator[Up]:
    with a_home() as home:
        yield Up(home)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_portal_starts_and_a_signal_ends_all_of_it(up: Up, number: signal.Signals):
    with running(up) as process:
        assert json.loads(portal.health(up.at)[1])["state"] == "ok"
        assert all(up.pid(part) for part in PARTS)
        process.send_signal(number)
        assert process.wait(WAIT_S) == 0
    until(lambda: not up.left(), "all ended", 5)
    assert portal.port_is_free("127.0.0.1", up.port)
    assert up.log().splitlines()[-1] == "regatta   │ stopped"


def test_whatever_is_killed_is_started_again(up: Up):
    with running(up):
        for part in PARTS:
            first = up.pid(part)
            os.kill(first, signal.SIGKILL)
            until(lambda part=part, first=first: up.pid(part) not in {0, first}, f"{part} again")
            until(lambda: portal.health(up.at)[0] == 200, f"healthy after {part} was killed")
            assert f"{part:<10}│ ended by SIGKILL" in up.log()
        until(lambda: '"state": "ok"' in portal.health(up.at)[1], "all of it is well")


def test_a_killed_supervisor_leaves_nothing_and_loses_nothing(up: Up):
    with running(up) as process:
        first_start(up)
        before = up.users()
        process.kill()
        process.wait()
        until(lambda: not up.left(), "its children ended", 20)
    with running(up):
        assert up.users() == before


def test_a_new_start_does_not_wait_for_what_a_killed_one_left(up: Up):
    with running(up) as process:
        first_start(up)
        before = up.users()
        process.kill()
        process.wait()
        with running(up):
            assert up.users() == before


def test_everything_killed_at_once_loses_nothing(up: Up):
    with running(up) as process:
        first_start(up)
        before = up.users()
        for word in up.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(word.split()[0]), signal.SIGKILL)
        process.wait()
    with running(up):
        assert up.users() == before


def test_a_second_portal_of_the_same_home_is_refused(up: Up):
    with running(up):
        second = Up(up.home)
        ran = subprocess.run(
            second.command(), env=second.environment(), cwd=ROOT, capture_output=True, check=False
        )
        assert ran.returncode == 1
        assert f"is in use by the portal at {up.at.url}" in ran.stdout.decode()
        assert portal.health(up.at)[0] == 200


def test_a_taken_port_is_refused_before_anything_starts(up: Up):
    with socket.create_server(("127.0.0.1", up.port)):
        ran = subprocess.run(
            up.command(), env=up.environment(), cwd=ROOT, capture_output=True, check=False
        )
    assert ran.returncode == 1
    assert f"127.0.0.1:{up.port} cannot be listened on" in ran.stdout.decode()
    assert "--port" in ran.stdout.decode()
    assert not (up.home / "postgres").exists()


def test_a_portal_that_is_well_passes_the_doctor(up: Up):
    with running(up):
        ran = subprocess.run(
            [*up.command("doctor"), "--json"],
            env=up.environment(),
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        found = json.loads(ran.stdout)["findings"]
        assert [one for one in found if one["severity"] == "error"] == []
        assert ran.returncode == 0


def test_the_doctor_names_a_ticker_that_hangs(up: Up):
    with running(up):
        os.kill(up.pid("ticker"), signal.SIGSTOP)
        until(lambda: portal.health(up.at)[0] == 503, "the ticker is late")
        ran = subprocess.run(
            [*up.command("doctor"), "--json"],
            env=up.environment(),
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        found = {one["code"]: one for one in json.loads(ran.stdout)["findings"]}
        assert ran.returncode == 1
        assert found["ticker"]["severity"] == "error"
        assert "regatta up" in found["ticker"]["advice"]
        os.kill(up.pid("ticker"), signal.SIGCONT)


@contextlib.contextmanager
def a_stray_node(up: Up) -> Iterator[subprocess.Popen[bytes]]:
    """A process that bears the mark of a local node of this home, of which no row knows."""
    mark = marks(up.home, cluster="clu-404", node="clu-404-s1-n0")
    code = "import time; time.sleep(600)"
    stray = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **mark})
    try:
        yield stray
    finally:
        stray.kill()
        stray.wait()


def test_a_node_that_no_row_wants_is_ended_by_the_next_start(up: Up):
    with a_stray_node(up) as stray, running(up):
        until(lambda: stray.poll() is not None, "ended by the sweep")


def test_a_clean_stop_ends_the_nodes_of_this_home_and_no_others(up: Up):
    with a_home() as elsewhere, a_stray_node(Up(elsewhere)) as foreign:
        with running(up) as process, a_stray_node(up) as stray:
            process.terminate()
            assert process.wait(WAIT_S) == 0
            until(lambda: stray.poll() is not None, "ended with the portal", 5)
        assert foreign.poll() is None


def test_an_ordinary_user_needs_no_more():
    if os.getuid() != 0:
        pytest.skip("every other test here is already run by an ordinary user")
    become = _becoming_nobody()
    if become is None:
        pytest.skip(f"nobody but root can run {sys.executable}, and setpriv cannot help")
    with a_home() as home:
        os.chown(home, NOBODY, NOBODY)
        up = Up(home, prefix=become, environ={"HOME": str(home)})
        with running(up) as process:
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
            assert {one.uids().real for one in tree} == {NOBODY}
            process.terminate()
            assert process.wait(WAIT_S) == 0


def first_start(up: Up) -> dict[str, str]:
    """The first admin and team."""
    ran = subprocess.run(
        [sys.executable, "manage.py", "first_start", "--json"],
        env=up.environment(),
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    said: dict[str, str] = json.loads(ran.stdout)
    return said


def _becoming_nobody() -> tuple[str, ...] | None:
    """What runs a command as nobody, who may also read what is hidden, should our Python be."""
    given = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    look = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
    for prefix in (given, (*given, *look)):
        with contextlib.suppress(FileNotFoundError):
            probe = [*prefix, sys.executable, "-c", "import psycopg, redis, subprocess, sys;"]
            probe[-1] += "subprocess.run([sys.executable, '--version'], check=True)"
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return prefix
    return None
