"""The servers from the wheels: real ones, killed for real."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from regatta.embedded import broker, postgres, processes
from regatta.embedded.broker import Broker
from regatta.embedded.postgres import Postgres

WAIT_S = 30.0
HOLD = """
import sys, time
from regatta.embedded import {module}
with {module}.throwaway() as url:
    print(url, flush=True)
    time.sleep(600)
"""


def until(true: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.02)


def servers_in(folder: Path) -> list[psutil.Process]:
    """The processes that work inside `folder`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder) and process.status() != "zombie":
                found.append(process)
    return found


@contextlib.contextmanager
def running(server: Postgres | Broker, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    server.prepare()
    with log.open("ab") as out:
        process = subprocess.Popen(server.command(), stdout=out, stderr=out)
    try:
        processes.wait_until(server.ready, what="the server", within_s=WAIT_S, log=log)
        yield process
    finally:
        process.send_signal(postgres.STOP if isinstance(server, Postgres) else broker.STOP)
        process.wait(WAIT_S)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A socket's path must be short, and pytest's own folders are not."""
    with tempfile.TemporaryDirectory(prefix="rt-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def database(folder: Path) -> Postgres:
    return Postgres(data=folder / "data", sockets=folder / "run")


@pytest.fixture
def valkey(folder: Path) -> Broker:
    return Broker(data=folder / "data", socket=folder / "broker.sock")


def rows(server: Postgres) -> list[int]:
    with psycopg.connect(server.url()) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM kept ORDER BY n")]


def write(server: Postgres, number: int) -> None:
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [number])


def test_the_database_is_durable_and_speaks_unicode_the_same_everywhere(
    database: Postgres, folder: Path
):
    with running(database, folder / "log"), psycopg.connect(database.url()) as connection:
        names = ("fsync", "synchronous_commit", "full_page_writes", "max_connections")
        asked = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
        assert connection.execute(asked).fetchone() == ("on", "on", "on", "300")
        assert connection.execute("SELECT upper('é ж')").fetchone() == ("É Ж",)


def test_the_database_listens_on_no_port(database: Postgres, folder: Path):
    with running(database, folder / "log") as process:
        assert psutil.Process(process.pid).net_connections(kind="inet") == []
        assert (folder / "run").stat().st_mode & 0o077 == 0


def test_every_row_is_there_after_the_postmaster_was_killed(database: Postgres, folder: Path):
    with running(database, folder / "log") as process:
        write(database, 1)
        process.kill()
        process.wait()
        with running(database, folder / "log"):
            write(database, 2)
            assert rows(database) == [1, 2]
    assert "FATAL" not in (folder / "log").read_text()  # nobody called while it recovered


def test_a_postmaster_that_nobody_holds_any_more_is_seen_off(database: Postgres, folder: Path):
    database.prepare()
    orphan = subprocess.Popen(database.command(), stderr=subprocess.DEVNULL)
    log = folder / "log"
    processes.wait_until(database.ready, what="the orphan", within_s=WAIT_S, log=log)
    write(database, 1)
    with running(database, log):
        assert orphan.wait(WAIT_S) == 0
        assert rows(database) == [1]


def test_a_pid_file_with_the_number_of_another_process_is_no_hindrance(
    database: Postgres, folder: Path
):
    with running(database, folder / "log") as process:
        pid_file = (folder / "data" / "postmaster.pid").read_text()
        process.kill()
        process.wait()
    until(lambda: not servers_in(folder / "data"), "the backends left")
    stale = pid_file.replace(str(process.pid), str(os.getpid()), 1)
    (folder / "data" / "postmaster.pid").write_text(stale)
    with running(database, folder / "log"):
        assert database.ready()


def test_a_start_killed_while_it_made_the_database_is_made_good(database: Postgres, folder: Path):
    half_made = folder / "data.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with running(database, folder / "log"):
        write(database, 1)
        assert rows(database) == [1]
    assert not half_made.exists()


def test_preparing_a_database_twice_keeps_its_rows(database: Postgres, folder: Path):
    with running(database, folder / "log"):
        write(database, 7)
    with running(database, folder / "log"):
        assert rows(database) == [7]


@pytest.mark.skipif(os.getuid() != 0, reason="only root must become somebody else")
def test_root_runs_the_database_as_nobody_where_user_namespaces_are_refused(
    database: Postgres, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    if not _others_can_reach(Path(sys.prefix)):
        pytest.skip(f"others than root cannot pass the folders above {sys.prefix}")
    monkeypatch.setattr(postgres, "_not_root", lambda: postgres._AS_NOBODY)
    with running(database, folder / "log") as process:
        assert psutil.Process(process.pid).uids().real == 65534
        write(database, 1)
        assert rows(database) == [1]


def test_the_broker_keeps_its_messages_over_a_kill(valkey: Broker, folder: Path):
    with running(valkey, folder / "log") as process:
        client = redis.Redis(unix_socket_path=str(valkey.socket))
        client.lpush("queue", "one", "two")
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
        client.execute_command("WAITAOF", 1, 0, 5000)  # on the disk, not only taken in
        process.kill()
        process.wait()
        client.close()
        with running(valkey, folder / "log"):
            again = redis.Redis(unix_socket_path=str(valkey.socket))
            assert again.lrange("queue", 0, -1) == [b"two", b"one"]
            again.close()


def test_the_broker_listens_on_no_port(valkey: Broker, folder: Path):
    with running(valkey, folder / "log") as process:
        assert psutil.Process(process.pid).net_connections(kind="inet") == []
        assert valkey.socket.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("module", ["postgres", "broker"])
def test_a_throwaway_leaves_nothing_when_its_holder_is_killed(module: str):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(module=module)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    url = holder.stdout.readline().strip()
    place = Path("/tmp", next(part for part in url.split("/") if part.startswith("regatta-")))
    assert servers_in(place)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    until(lambda: not place.exists(), "its folder is gone")
    until(lambda: not servers_in(place), "its processes are gone")


@pytest.mark.parametrize("module", [postgres, broker])
def test_a_throwaway_leaves_nothing_after_its_use(module):
    with module.throwaway() as url:
        place = Path("/tmp", next(part for part in url.split("/") if part.startswith("regatta-")))
        assert servers_in(place)
    assert not place.exists()
    assert not servers_in(place)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is of Linux")
@pytest.mark.parametrize("kind", [Postgres, Broker])
def test_a_server_ends_with_its_killed_parent(kind, folder: Path):
    server = (
        Postgres(data=folder / "data", sockets=folder / "run", durable=False)
        if kind is Postgres
        else Broker(data=folder / "data", socket=folder / "broker.sock")
    )
    server.prepare()
    script = (
        "import signal, subprocess, sys, time\n"
        "from regatta.embedded.processes import dying_with_parent\n"
        "bound = dying_with_parent(signal.SIGINT)\n"
        "subprocess.Popen(sys.argv[1:], preexec_fn=bound, stderr=subprocess.DEVNULL,\n"
        "    stdout=subprocess.DEVNULL)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, *server.command()])
    until(server.ready, "the server is ready")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until(lambda: not servers_in(folder), "the server has ended")


def _others_can_reach(path: Path) -> bool:
    return all(above.stat().st_mode & 0o005 == 0o005 for above in (path, *path.parents))
