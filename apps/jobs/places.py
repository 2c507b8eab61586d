"""Clusters as the reconciler of jobs sees them: who to ask, and what there is to share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from httpx import Client

from apps.clusters import selectors as clusters
from apps.jobs import selectors
from regatta.lifecycle.attempt import Launcher, Seen
from regatta.lifecycle.queue import Amounts
from regatta.rayjobs.client import RayJobs, connect


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One cluster, now.

    launcher: None while nobody can be asked; `unseen` says what that means for what runs there.
    session: of the cluster; what was placed in another one has ended with it.
    """

    launcher: Launcher | None = None
    unseen: Seen = Seen.HIDDEN
    session: str = ""
    capacity: Amounts = field(default_factory=dict)
    nodes_by_kind: Mapping[str, int] = field(default_factory=dict)


Places = Callable[[int], Place]
_UNSEEN = {  # what the cluster's own record says of its work when there is no head to ask
    "deleted": Seen.GONE,
    "stopped": Seen.FORGOTTEN,
    "failed": Seen.FORGOTTEN,
}


def place_of(cluster_id: int) -> Place:
    """The cluster as its own app knows it; touches the network only when the launcher is used."""
    head = clusters.endpoint(cluster_id)
    if head is None:
        state = clusters.cluster_state(cluster_id) or ""
        return Place(unseen=_UNSEEN.get(state, Seen.HIDDEN))
    offer = clusters.capacity(cluster_id)
    return Place(
        launcher=RayJobs(_connection(head.address, head.token)),
        session=str(head.session),
        capacity=selectors.amounts(offer),
        nodes_by_kind=offer.nodes_by_kind,
    )


@lru_cache(maxsize=64)
def _connection(address: str, token: str) -> Client:
    """One pool of connections per head and process: a handshake per look would be slow."""
    return connect(address, token)
