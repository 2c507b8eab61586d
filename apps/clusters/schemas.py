"""Shapes of the API about clusters."""

from __future__ import annotations

from datetime import datetime

from ninja import Schema
from pydantic import Field

from apps.clusters.models import GIB, MOST_WORKERS, USUAL_MEMORY_BYTES
from apps.clusters.services import NodeWish
from apps.http.schemas import In, StateOut
from regatta.lifecycle.cluster import Desired


class SimulatedIn(In):
    chip: str = Field(min_length=1, max_length=60)
    count: int = Field(ge=1)


class NodeIn(In):
    """What each worker offers; without `memory_gib`, 2 GiB. `simulated` chips compute nothing."""

    cpus: int = Field(default=1, ge=1)
    memory_gib: float | None = Field(default=None, gt=0, le=1 << 16)
    labels: dict[str, str] = Field(default_factory=dict)
    simulated: SimulatedIn | None = None

    def wish(self) -> NodeWish:
        given = self.memory_gib
        return NodeWish(
            cpus=self.cpus,
            memory_bytes=USUAL_MEMORY_BYTES if given is None else round(given * GIB),
            labels=self.labels,
            chip=self.simulated.chip if self.simulated else "",
            chips=self.simulated.count if self.simulated else 0,
        )


class ClusterIn(In):
    name: str = Field(min_length=1, max_length=40)
    provider: str = "local"
    workers: int = Field(default=2, ge=0, le=MOST_WORKERS)
    node: NodeIn = Field(default_factory=NodeIn)


class DesiredIn(In):
    desired: Desired


class SizeIn(In):
    workers: int = Field(ge=0, le=MOST_WORKERS)


class SimulatedOut(Schema):
    chip: str
    count: int


class NodeShapeOut(Schema):
    cpus: int
    memory_gib: float
    labels: dict[str, str]
    simulated: SimulatedOut | None


class ClusterOut(Schema):
    id: int
    name: str
    provider: str
    desired: str
    state: StateOut
    workers: int
    ready_workers: int
    session: int
    node: NodeShapeOut
    created_by: str
    created_at: datetime


class ClusterPage(Schema):
    items: list[ClusterOut]
    next: str | None


class NodeOut(Schema):
    id: int
    name: str
    role: str
    session: int
    kind: str
    state: StateOut
    address: str
    cpus: int
    memory_bytes: int
    labels: dict[str, str]
    simulated: SimulatedOut | None
    started_at: datetime | None
    ended_at: datetime | None


class NodePage(Schema):
    items: list[NodeOut]
    next: str | None


class ClusterEventOut(Schema):
    """A move. quote: what a node that failed wrote last, as far as it tells why."""

    id: int
    subject: str
    seq: int
    old: str
    new: str
    reason: str
    message: str
    quote: str
    actor: str
    at: datetime


class EventPage(Schema):
    items: list[ClusterEventOut]
    next: str | None
