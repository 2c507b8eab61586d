"""A provider in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from regatta.lifecycle.cluster import Door, Role, Seen, Sight
from regatta.providers.provider import ClusterSpec, NodeSpec, ProviderTrouble


@dataclass
class FakeNode:
    cluster: str
    spec: NodeSpec
    seen: Seen = Seen.ALIVE
    asked_to_stop: bool = False


@dataclass
class FakeProvider:
    """Holds what the world looks like; `started` names the starts that had an effect.

    door: how a living head answers. stubborn: nodes that end only when they are killed.
    words: what a node wrote before it failed, by its name.
    """

    nodes: dict[str, FakeNode] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    door: Door = Door.GUARDED
    stubborn: bool = False
    busy: frozenset[str] = frozenset()
    forgotten: list[str] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)

    def look(self, cluster: ClusterSpec) -> Sight:
        everything = list(self.nodes.items())  # at once: sweeps look from several threads
        mine = {name: node for name, node in everything if node.cluster == cluster.handle}
        head = next((n for n in mine.values() if n.spec.role is Role.HEAD), None)
        up = head is not None and head.seen is Seen.ALIVE
        return Sight(
            door=self.door if up else Door.SILENT,
            joinable=up,
            nodes={name: node.seen for name, node in mine.items()},
            busy=self.busy if cluster.crowded else frozenset(),
            address="http://127.0.0.1:8265" if up else "",
            hosts=dict.fromkeys(mine, "127.0.1.1"),
        )

    def start_node(self, cluster: ClusterSpec, node: NodeSpec) -> None:
        if node.role is Role.WORKER and not self.look(cluster).joinable:
            raise ProviderTrouble(f"{node.name} has no head to join")
        if node.name not in self.nodes:
            self.nodes[node.name] = FakeNode(cluster.handle, node)
            self.started.append(node.name)

    def stop_node(self, cluster: str, node: str, *, force: bool = False) -> None:
        if node in self.nodes and (force or not self.stubborn):
            del self.nodes[node]
        elif node in self.nodes:
            self.nodes[node].asked_to_stop = True

    def running(self) -> Mapping[str, str]:
        return {name: node.cluster for name, node in self.nodes.items()}

    def last_words(self, cluster: ClusterSpec, node: str) -> str:
        return self.words.get(node, "")

    def forget(self, cluster: str) -> None:
        self.forgotten.append(cluster)
