"""Where a local node keeps its things: its folder, its ports, its token.

The ports stand in a file, so that a repeated start, and whoever looks, finds the same ones.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote

from regatta.embedded.paths import make_run_dir
from regatta.providers.provider import ProviderTrouble

DASHBOARD_HOST = "127.0.0.1"
_PORTS = (
    "node_manager_port",
    "object_manager_port",
    "dashboard_agent_listen_port",
    "dashboard_agent_grpc_port",
    "runtime_env_agent_port",
    "metrics_export_port",
)
_PORTS_OF_HEAD = ("port", "ray_client_server_port", "dashboard_port")
_FIRST_PORT, _LAST_PORT = 20_001, 32_000  # below those that systems give to outgoing connections
# A socket's path may have 107 bytes; Ray adds /session_<time>_<pid>/sockets/plasma_store.
_LONGEST_TEMP = 107 - 66


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a node was started with. host: an address of the loopback of its own."""

    host: str
    ports: dict[str, int]
    temp_dir: str

    @property
    def dashboard(self) -> str:
        return f"http://{DASHBOARD_HOST}:{self.ports['dashboard_port']}"


class Layout:
    """The folders of all local clusters of a home."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()

    def cluster(self, handle: str) -> Path:
        return self.home / "clusters" / handle

    def node(self, cluster: str, node: str) -> Path:
        return self.cluster(cluster) / node

    def make_node(self, cluster: str, node: str) -> Path:
        """The folder of a node, closed to others."""
        folder = self.node(cluster, node)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def read(self, cluster: str, node: str) -> Record | None:
        """What the node was started with; None before its first start.

        Raises: ProviderTrouble for a file that is not ours.
        """
        path = self.node(cluster, node) / "node.json"
        try:
            return Record(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ProviderTrouble(f"{path} cannot be read: {error}") from error

    def read_or_choose(self, cluster: str, node: str, *, head: bool) -> Record:
        """What the node was, or is from now on, started with."""
        if known := self.read(cluster, node):
            return known
        temp_dir = str(make_run_dir(self.home) / node.removeprefix("clu-"))
        if len(os.fsencode(temp_dir)) > _LONGEST_TEMP:
            raise ProviderTrouble(f"{temp_dir} is too long for Ray's sockets")
        host = _host(node)
        names = (*_PORTS, *_PORTS_OF_HEAD) if head else _PORTS
        hosts = [DASHBOARD_HOST if name == "dashboard_port" else host for name in names]
        ports = dict(zip(names, _free_ports(hosts), strict=True))
        record = Record(host=host, ports=ports, temp_dir=temp_dir)
        write_private(self.node(cluster, node) / "node.json", json.dumps(asdict(record)))
        return record

    def token_file(self, cluster: str, session: int, token: str) -> Path:
        """The file from which the nodes of a session read their token."""
        path = self.cluster(cluster) / f"token-s{session}"
        if not path.exists() or path.read_text() != token:
            write_private(path, token)
        return path

    def python(self) -> Path:
        """This Python, by a path that is one word to a shell: Ray names it to one unquoted."""
        executable = Path(sys.executable)
        if quote(str(executable)) == str(executable):
            return executable
        prefix = executable.parent.parent
        mark = hashlib.sha256(os.fsencode(prefix)).hexdigest()[:8]
        link = make_run_dir(self.home) / f"python-{mark}"
        with suppress(FileExistsError):
            link.symlink_to(prefix)
        return link / executable.relative_to(prefix)

    def left(self) -> Iterator[tuple[str, str]]:
        """Clusters and nodes that still have something in the run folder."""
        for path in self.home.glob("clusters/*/*/node.json"):
            cluster, node = path.parts[-3:-1]
            record = self.read(cluster, node)
            if record and Path(record.temp_dir).exists():
                yield cluster, node

    def clear(self, cluster: str, node: str) -> None:
        """Clear the run folder of a node that has ended, but for Ray's logs, which are kept."""
        record = self.read(cluster, node)
        if record is None or not (temp_dir := Path(record.temp_dir)).exists():
            return
        logs, kept = temp_dir / "session_latest" / "logs", self.node(cluster, node) / "logs"
        if logs.exists() and not kept.exists():
            with suppress(OSError):  # a full disk must not keep the rest from being cleared
                shutil.copytree(logs, kept, ignore_dangling_symlinks=True)
        shutil.rmtree(temp_dir, ignore_errors=True)

    def forget(self, cluster: str) -> None:
        """Remove all that is kept of a cluster."""
        for path in self.cluster(cluster).glob("*/node.json"):
            self.clear(cluster, path.parent.name)
        with suppress(FileNotFoundError):
            shutil.rmtree(self.cluster(cluster))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, all of it or nothing."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    made.replace(path)


@contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Whether nobody else is here now, by a lock that ends with its process."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _host(node: str) -> str:
    """An address for the node: Ray rewrites 127.0.0.1 itself to one that others reach."""
    a, b, c = hashlib.sha256(node.encode()).digest()[:3]
    return f"127.{1 + a % 254}.{b}.{1 + c % 254}"


def _free_ports(hosts: list[str]) -> list[int]:
    """A port for each host that nobody listens on, and no two the same."""
    candidates = iter(random.sample(range(_FIRST_PORT, _LAST_PORT), 1000))
    return [next(port for port in candidates if _is_free(host, port)) for host in hosts]


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
