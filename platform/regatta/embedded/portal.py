"""The processes of the portal, in the order in which they must be ready."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from regatta.embedded import broker, paths, postgres
from regatta.embedded.processes import environ_without_postgres
from regatta.embedded.supervisor import Lines, Service, Stopped, Supervisor, see_off_the_last_ones

_PROBE_S = 5.0
_WEB = (
    *("--http", "apps.http.protocol:Protocol"),  # with bounds for what a stranger may send
    *("--ws-max-size", "65536"),  # who follows a log has nothing to say
    *("--timeout-graceful-shutdown", "3"),  # open event streams would hold a stop up for ever
    *("--no-proxy-headers", "--no-access-log", "--no-server-header", "--log-level", "warning"),
)
_AS_ROOT = ("-W", "ignore:You're running the worker with superuser")  # who does so knows it
_WORKER = (
    "worker",
    *("--pool", "prefork", "-c", "2", "-O", "fair", "--loglevel", "WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)


class Refused(Exception):
    """The portal cannot start as asked; the text says what would be right."""


@dataclass(frozen=True, slots=True)
class Portal:
    """Where the portal lives and listens."""

    home: Path
    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def url(self) -> str:
        """The address that this machine's browsers and jobs use, unless `$REGATTA_URL` says so."""
        return os.environ.get("REGATTA_URL") or f"http://{reachable(self.host)}:{self.port}"

    def environ(self) -> dict[str, str]:
        """What all the children get."""
        ours = {"REGATTA_HOME": str(self.home), "REGATTA_URL": self.url}
        ours |= {"REGATTA_COLLECTED_STATIC": "1", "PYTHONUNBUFFERED": "1"}
        ours["REGATTA_DB_POOL"] = os.environ.get("REGATTA_DB_POOL", "24")
        # PG* variables are meant for the user's own server, not for the embedded one.
        given = dict(os.environ) if is_set("DATABASE_URL") else environ_without_postgres()
        return given | ours

    def command(self, name: str, *, listener: int | None = None) -> tuple[str, ...]:
        """How to execute one of the portal's own processes.

        listener: the open socket on which `web` serves; without one it listens by itself.
        """
        python = sys.executable
        address: tuple[str, ...] = ("--host", self.host, "--port", str(self.port))
        if listener is not None:
            address = ("--fd", str(listener))
        return {
            "web": (python, "-m", "uvicorn", "apps.config.asgi:application", *address, *_WEB),
            "worker": (python, *_AS_ROOT, "-m", "celery", "-q", "-A", "apps.config", *_WORKER),
            "ticker": (python, "manage.py", "ticker"),
            "first_start": (python, "manage.py", "first_start"),
            "doctor": (python, "manage.py", "doctor"),
            "prepare": (python, "manage.py", "prepare"),
        }[name]


def serve(portal: Portal, *, lines: Lines, at_stop: Callable[[], None]) -> None:
    """Run everything until told to stop.

    at_stop is called when nothing works any more on what the portal holds, the database still up.
    Raises: Refused before anything was started; `supervisor.Failed` when a step fails.
    """
    with _lock(portal):
        run = paths.make_run_dir(portal.home)
        see_off_the_last_ones(run)
        listener = _listen(portal)
        supervisor = Supervisor(folder=paths.project_root(), pids=run, lines=lines)
        supervisor.heed_signals()
        with contextlib.ExitStack() as ending:  # the last line first, each whatever the others do
            ending.callback(lines.say, "regatta", "stopped")
            ending.callback(supervisor.stop)
            ending.callback(at_stop)
            ending.callback(listener.close)  # after those that are still to be given it
            ending.callback(supervisor.stop, [*_webs(), "worker", "ticker"])
            ending.callback(lines.say, "regatta", "stopping")
            with contextlib.suppress(Stopped):
                _start(portal, supervisor, listener.fileno())
                supervisor.stop_asked.wait()


def _start(portal: Portal, supervisor: Supervisor, listener: int) -> None:
    began_s = time.monotonic()
    for service, ready in _embedded(portal):
        supervisor.keep(service)
        supervisor.wait_until(ready, what=service.name)
    supervisor.run_through(_service(portal, "prepare"))
    first, *more = _webs()
    supervisor.keep(_web(portal, first, listener))
    for name in ("worker", "ticker"):
        supervisor.keep(_service(portal, name))
    supervisor.wait_until(lambda: health(portal)[0] == 200, what="the portal")
    took_s = time.monotonic() - began_s
    supervisor.lines.say("regatta", f"ready after {took_s:.1f} s: {portal.url}")
    for name in more:
        supervisor.keep(_web(portal, name, listener))


def _webs() -> list[str]:
    """The names of the web processes: two share the socket, so that one serves while one is down.

    `$REGATTA_WEB_PROCESSES` says another number.
    """
    count = int(os.environ.get("REGATTA_WEB_PROCESSES", "2"))
    return ["web", *(f"web{number}" for number in range(2, count + 1))]


def _web(portal: Portal, name: str, listener: int) -> Service:
    argv = portal.command("web", listener=listener)
    return Service(name=name, argv=argv, environ=portal.environ(), fds=(listener,))


def _service(portal: Portal, name: str) -> Service:
    return Service(name=name, argv=portal.command(name), environ=portal.environ())


def _embedded(portal: Portal) -> Iterator[tuple[Service, Callable[[], bool]]]:
    """The servers that the environment does not name, and how to ask whether they are ready."""
    run, environ = paths.run_dir(portal.home), environ_without_postgres()
    if not is_set("DATABASE_URL"):
        sockets = paths.postgres_dir(portal.home)
        database = postgres.Postgres(data=portal.home / "postgres", sockets=sockets)
        yield (
            Service(
                name="postgres",
                argv=database.command(),
                environ=environ,
                prepare=database.prepare,
                stop=postgres.STOP,
                death=postgres.STOP,
                grace_s=20.0,
            ),
            database.ready,
        )
    if not is_set("BROKER_URL"):
        server = broker.Broker(data=portal.home / "broker", socket=run / "broker.sock")
        yield (
            Service(
                name="broker",
                argv=server.command(),
                environ=environ,
                prepare=server.prepare,
                stop=broker.STOP,
                death=broker.STOP,
            ),
            server.ready,
        )


def is_set(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names a server of the user's own."""
    return bool(environ.get(name) or environ.get(f"{name}_FILE"))


def health(portal: Portal) -> tuple[int, str]:
    """What `/healthz` answers, status and body; 0 and the trouble when nothing does."""
    connection = http.client.HTTPConnection(reachable(portal.host), portal.port, timeout=_PROBE_S)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status, answer.read(4096).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def reachable(host: str) -> str:
    """The address to call for what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True


def holder(at: Portal) -> Portal | None:
    """The portal that runs in this home now, if one does."""
    try:
        with (at.home / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        said = json.loads((at.home / "lock").read_text() or "{}")
        return replace(at, host=said.get("host", at.host), port=said.get("port", at.port))
    except OSError:  # there was never one
        return None


def _listen(portal: Portal) -> socket.socket:
    """The socket of the portal, ours before anything starts: who calls early waits, not fails.

    Raises: Refused.
    """
    family = socket.AF_INET6 if ":" in portal.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by each connection; asyncio does not set it for a socket it did not open, and
    # the kernel would hold back the end of an answer for 40 ms (Nagle against delayed ACKs).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((portal.host, portal.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise Refused(
            f"{portal.host}:{portal.port} cannot be listened on, another program may have it; "
            "choose another with --port"
        ) from error
    return listener


@contextlib.contextmanager
def _lock(portal: Portal) -> Iterator[None]:
    """Hold the home for ourselves. The kernel gives it up when we end, however we do."""
    portal.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (portal.home / "lock").open("a+") as file:
        if not _locked(file):
            other = holder(portal) or portal
            raise Refused(f"{portal.home} is in use by the portal at {other.url}")
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": portal.host, "port": portal.port}))
        file.flush()
        yield


def _locked(file: IO[str]) -> bool:
    """Whether it is ours now; tried for a moment, since `holder` may be just asking."""
    for _ in range(10):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.05)
    return False
