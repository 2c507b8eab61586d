"""What starts and ends the nodes of clusters, and tells what is there.

A provider keeps no memory of its own that counts: each node is known by its name, so that doing
a thing again finds what the first time has left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from regatta.lifecycle.cluster import Role, Sight


class ProviderTrouble(Exception):
    """The provider could not ask or act; nothing is known, and it may be tried again."""


class UnknownProvider(LookupError):
    """No provider of that name is installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedChip:
    """An accelerator that exists in the books only: it places work, and computes nothing."""

    chip: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One node. name: unique, and the same at every try. cpus: what it offers to tasks."""

    name: str
    role: Role
    cpus: int
    memory_bytes: int
    labels: Mapping[str, str] = field(default_factory=dict)
    simulated: SimulatedChip | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """One session of a cluster. token: the secret that every node and client must bring.

    nodes: those that have not ended. crowded: more workers than wished, so `look` tells who works.
    """

    handle: str
    session: int
    token: str = field(repr=False)
    nodes: tuple[NodeSpec, ...] = ()
    crowded: bool = False

    @property
    def head(self) -> NodeSpec | None:
        return next((node for node in self.nodes if node.role is Role.HEAD), None)


class Provider(Protocol):
    """Starts, shows and ends nodes. Every method may be repeated.

    Raises: ProviderTrouble, when it could not ask or act.
    """

    def look(self, cluster: ClusterSpec) -> Sight:
        """What is there of the cluster's nodes, and how its head answers."""
        ...

    def start_node(self, cluster: ClusterSpec, node: NodeSpec) -> None:
        """Begin to start the node, or find it started. A worker needs a head that is joinable."""
        ...

    def stop_node(self, cluster: str, node: str, *, force: bool = False) -> None:
        """Begin to end the node of the cluster with that handle; asked for long, or `force`: kill.

        A node that is absent is stopped. Does not wait: `look` tells when it is absent.
        """
        ...

    def running(self) -> Mapping[str, str]:
        """What bears our mark and has not ended: names of nodes, with their clusters' handles."""
        ...

    def last_words(self, cluster: ClusterSpec, node: str) -> str:
        """What the node wrote last that tells why it failed, without secrets; perhaps nothing."""
        ...

    def forget(self, cluster: str) -> None:
        """Remove what is kept of a cluster that is deleted: its logs and its token."""
        ...


def sanitized(chip: str) -> str:
    """The name of a chip as Ray's custom resource."""
    return "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in chip)
