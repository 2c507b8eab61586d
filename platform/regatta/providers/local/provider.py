"""A provider that runs nodes as `ray start` processes on this machine.

Bound to the loopback: the dashboard and the Jobs API, whose every request needs the token. Ray's
own ports between nodes listen on all interfaces; there too the token is asked for.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from regatta.embedded.processes import tail
from regatta.lifecycle.cluster import Door, Role, Seen, Sight
from regatta.providers.last_words import last_words
from regatta.providers.local import processes
from regatta.providers.local.head import Head, Silent, listens
from regatta.providers.local.layout import (
    DASHBOARD_HOST,
    Layout,
    Record,
    only_one,
    write_private,
)
from regatta.providers.local.processes import Marked
from regatta.providers.provider import ClusterSpec, NodeSpec, ProviderTrouble, sanitized

GRACE_S = 35.0  # a busy node drains for up to 30 s once it is asked to end
# All that a node, and so a job, gets of our own environment: no key, no address of a database.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "SHELL", "TZ", "USER")
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A dead node is known after 1.5 s instead of 12, a frozen one after 4 s.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    # Both would serve metrics to anybody, on all interfaces; Regatta asks by the dashboard.
    "RAY_enable_metrics_collection": "0",
    "DASHBOARD_METRIC_PORT": "-1",
    # A worker waits 2 s this often for its head to be up, which on a busy machine takes long.
    "RAY_NUM_REDIS_GET_RETRIES": "60",
    "SPT_NOENV": "1",  # Ray renames its processes, and must not overwrite our marks by that
}
_LOG_LINES = 200
_LEAST_STORE_BYTES, _MOST_STORE_BYTES = 80 << 20, 1 << 30


class LocalProvider:
    """The local clusters of one home. Holds nothing: all is in files and in the processes."""

    def __init__(self, home: Path) -> None:
        self._layout = Layout(home)

    def look(self, cluster: ClusterSpec) -> Sight:
        trees = processes.marked(self._layout.home)
        nodes: dict[str, Seen] = {}
        hosts: dict[str, str] = {}
        for node in cluster.nodes:
            if record := self._layout.read(cluster.handle, node.name):
                hosts[node.name] = record.host
            if tree := trees.get(node.name):
                first = any(one.first for one in tree)
                nodes[node.name] = Seen.PRESENT if first else Seen.DEAD
        head = cluster.head
        record = self._layout.read(cluster.handle, head.name) if head else None
        if head is None or record is None or nodes.get(head.name) is not Seen.PRESENT:
            return Sight(nodes=nodes, hosts=hosts)
        door, counted, busy = _ask(record, cluster)
        present = {name: said for name, said in counted.items() if nodes.get(name) is Seen.PRESENT}
        return Sight(
            door=door,
            joinable=listens(record.host, record.ports["port"]),
            nodes=nodes | present,
            busy=busy,
            address=record.dashboard,
            hosts=hosts,
        )

    def start_node(self, cluster: ClusterSpec, node: NodeSpec) -> None:
        folder = self._layout.make_node(cluster.handle, node.name)
        with only_one(folder / "lock") as alone:
            if not alone:
                return  # another worker is starting it now
            tree = self._tree(node.name)
            if any(one.first for one in tree):
                return
            if tree:
                processes.kill(tree)
                raise ProviderTrouble(f"remains of an earlier {node.name} had to be ended first")
            self._start(cluster, node, folder)

    def stop_node(self, cluster: str, node: str, *, force: bool = False) -> None:
        tree = self._tree(node)
        if not tree:
            self._layout.clear(cluster, node)
            return
        asked = self._layout.make_node(cluster, node) / "asked_to_stop"
        if force or not any(one.first for one in tree):
            processes.kill(tree)
        elif not asked.exists():
            write_private(asked, str(time.time()))
            processes.ask(tree)
        elif time.time() - asked.stat().st_mtime > GRACE_S:
            processes.kill(tree)

    def running(self) -> Mapping[str, str]:
        trees = processes.marked(self._layout.home)
        found = {name: tree[0].cluster for name, tree in trees.items()}
        return {node: cluster for cluster, node in self._layout.left()} | found

    def last_words(self, cluster: ClusterSpec, node: str) -> str:
        try:
            written = tail(self._layout.node(cluster.handle, node) / "ray.log", lines=_LOG_LINES)
        except OSError as error:
            return f"its log cannot be read: {error}"
        return last_words(written, secrets=[cluster.token])

    def forget(self, cluster: str) -> None:
        self._layout.forget(cluster)

    def _tree(self, node: str) -> list[Marked]:
        return processes.marked(self._layout.home).get(node, [])

    def _start(self, cluster: ClusterSpec, node: NodeSpec, folder: Path) -> None:
        is_head = node.role is Role.HEAD
        head = cluster.head
        joins = None
        if not is_head:
            joins = self._layout.read(cluster.handle, head.name) if head else None
            if joins is None:
                raise ProviderTrouble(f"{node.name} has no head to join")
        record = self._layout.read_or_choose(cluster.handle, node.name, head=is_head)
        token = self._layout.token_file(cluster.handle, cluster.session, cluster.token)
        marks = processes.marks(self._layout.home, cluster=cluster.handle, node=node.name)
        (folder / "asked_to_stop").unlink(missing_ok=True)
        python = self._layout.python()
        try:
            processes.spawn(
                [str(python), *_arguments(node, record, joins)],
                environment=_environment(python) | marks | {"RAY_AUTH_TOKEN_PATH": str(token)},
                log=folder / "ray.log",
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ProviderTrouble(f"{node.name} could not be started: {error}") from error


def _ask(record: Record, cluster: ClusterSpec) -> tuple[Door, Mapping[str, Seen], frozenset[str]]:
    """How the head answers, which nodes it counts, and, in a crowd, which of them work."""
    with Head(record.dashboard, cluster.token) as head:
        door = head.door()
        if door is not Door.GUARDED:
            return door, {}, frozenset()
        try:
            return door, head.nodes(), head.busy() if cluster.crowded else frozenset()
        except Silent:
            return Door.SILENT, {}, frozenset()


def _arguments(node: NodeSpec, record: Record, joins: Record | None) -> list[str]:
    ports = dict(record.ports)
    labels = dict(node.labels)
    resources = {}
    if node.simulated:
        chip = sanitized(node.simulated.chip)
        labels |= {"simulated": "true", "accelerator": chip}
        resources = {chip: node.simulated.count}
    store_bytes = min(max(node.memory_bytes * 3 // 10, _LEAST_STORE_BYTES), _MOST_STORE_BYTES)
    options: dict[str, object] = {
        "node-name": node.name,
        "node-ip-address": record.host,
        "temp-dir": record.temp_dir,
        "num-cpus": node.cpus,
        "num-gpus": 0,  # each node would offer every GPU of the machine
        "memory": node.memory_bytes,
        "object-store-memory": store_bytes,
        "resources": json.dumps(resources),
        "log-color": "false",
        **{name.replace("_", "-"): port for name, port in ports.items()},
    }
    if labels:
        options["labels"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    if joins:
        options["address"] = f"{joins.host}:{joins.ports['port']}"
    # No monitor: it asks for more machines, which is Regatta's own to do.
    flags = ["--block"] if joins else ["--block", "--head", "--no-monitor"]
    if not joins:
        options |= {"include-dashboard": "true", "dashboard-host": DASHBOARD_HOST}
    words = [f"--{name}={value}" for name, value in options.items()]
    return ["-m", *processes.START, *flags, *words]


def _environment(python: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    folders = [str(python.parent), os.environ.get("PATH", os.defpath)]
    return kept | _ENVIRONMENT | {"PATH": os.pathsep.join(folders)}
