"""Looks at what the nodes of every live cluster use, and keeps a sample of each.

A cluster that does not answer, or answers nonsense, delays and spoils nobody's sample but its own.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.utils import timezone

from apps.accounts.vault import Unreadable
from apps.clusters import selectors as clusters
from apps.insights.models import NodeSample
from regatta.providers.local.usage import Meter, NodeUsage

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0
MOST_AT_ONCE = 32
MOST_BYTES = 16 << 20  # of one answer; three nodes need 40 kB
_PATHS = ("/nodes?view=summary", "/api/v0/placement_groups?detail=1&limit=10000")
# A worker inside a placement group holds its bundle's share, which counts already.
_OF_A_GROUP = re.compile(r"group\d*[0-9a-f]{32,}")

_meter = Meter()


class Nonsense(Exception):
    """A cluster answered what no Ray head answers."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One node by the word of its head. allocated: by the squeezed name of a resource."""

    cpus_used: float
    memory_used_bytes: int
    allocated: Mapping[str, float]


def sample() -> None:
    """One look at every node of every live cluster."""
    live = clusters.live_clusters()
    asked = [
        (one.pk, end, clusters.live_nodes(one.pk)) for one in live if (end := _endpoint(one.pk))
    ]
    if not asked:
        return
    own = _meter.look(Path(settings.REGATTA_HOME))
    with ThreadPoolExecutor(min(MOST_AT_ONCE, len(asked))) as pool:
        answers = pool.map(lambda each: _ask(each[0], each[1]), asked)
        for (pk, _, nodes), seen in zip(asked, answers, strict=True):
            rows = [
                _row(pk, node, seen[node.address], own.get(node.name))
                for node in nodes
                if node.address in seen
            ]
            NodeSample.objects.bulk_create(rows)


def _endpoint(cluster_id: int) -> clusters.Endpoint | None:
    try:
        return clusters.endpoint(cluster_id)
    except Unreadable as error:
        log.warning(
            "no sample: %s", error, extra={"action": "sample_failed", "cluster": cluster_id}
        )
        return None


def _ask(cluster_id: int, endpoint: clusters.Endpoint) -> Mapping[str, Seen]:
    """What a head says of its nodes, by their address; nothing if it cannot be understood."""
    bearer = {"Authorization": f"Bearer {endpoint.token}"}
    try:
        with httpx.Client(
            base_url=endpoint.address,
            headers=bearer,
            timeout=TIMEOUT_S,
            trust_env=False,  # the token is for the head, not for a proxy
        ) as http:
            return read(*[_get(http, path) for path in _PATHS])
    except (httpx.HTTPError, Nonsense) as error:
        log.warning(
            "no sample: %s", error, extra={"action": "sample_failed", "cluster": cluster_id}
        )
        return {}


def _get(http: httpx.Client, path: str) -> Any:
    with http.stream("GET", path) as answer:
        answer.raise_for_status()
        body = bytearray()
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise Nonsense(f"{path} answers more than {MOST_BYTES} bytes")
    try:
        return json.loads(body)
    except ValueError as error:
        raise Nonsense(f"{path} answers no JSON: {error}") from error


def read(summary: Any, groups: Any) -> dict[str, Seen]:
    """The living nodes of a cluster, by their address.

    summary, groups: of Ray's dashboard. Work holds what its workers hold, and what placement
    groups have set aside for it. (Sums by node are kept by Ray's autoscaler alone, which need not
    run.)
    Raises: Nonsense.
    """
    try:
        set_aside = _set_aside(groups["data"]["result"]["result"])
        return {
            node["ip"]: Seen(
                cpus_used=float(node["cpu"]) / 100 * int(node["cpus"][0]),
                memory_used_bytes=int(node["mem"][3]),
                allocated=_held(node["raylet"], set_aside[node["raylet"]["nodeId"]]),
            )
            for node in summary["data"]["summary"]
            if node["raylet"].get("state") == "ALIVE"
            and "cpu" in node
            and "coreWorkersStats" in node["raylet"]  # it is told some seconds after the start
        }
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Nonsense(f"not what a Ray head answers: {type(error).__name__}: {error}") from error


def _set_aside(groups: Any) -> dict[str, dict[str, float]]:
    """What placement groups hold, by the id of the node."""
    held: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for group in groups:
        for bundle in group["bundles"]:
            if group["state"] == "CREATED" and bundle["node_id"]:
                for name, amount in bundle["unit_resources"].items():
                    held[bundle["node_id"]][squeezed(name)] += float(amount)
    return held


def _held(raylet: Any, set_aside: Mapping[str, float]) -> dict[str, float]:
    """What placement groups hold of a node, and what its workers hold outside of them."""
    held = defaultdict(float, set_aside)
    for worker in raylet["coreWorkersStats"]:
        for name, slots in worker["usedResources"].items():
            if not _OF_A_GROUP.search(squeezed(name)):
                held[squeezed(name)] += sum(
                    float(one["allocation"]) for one in slots["resourceSlots"]
                )
    return held


def squeezed(name: str) -> str:
    """The name of a resource without what Ray's dashboard may have changed of it."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _row(
    cluster_id: int, node: clusters.LiveNode, seen: Seen, own: NodeUsage | None
) -> NodeSample:
    """own: of a node that shares this machine with others, which the head takes for its own."""
    return NodeSample(
        node_id=node.pk,
        cluster_id=cluster_id,
        at=timezone.now(),
        cpus=node.cpus,
        cpus_used=own.cpus if own else seen.cpus_used,
        cpus_allocated=seen.allocated.get("cpu", 0.0),
        memory_bytes=node.memory_bytes,
        memory_used_bytes=own.memory_bytes if own else seen.memory_used_bytes,
        chips=node.chips,
        chips_used=None,  # simulated ones compute nothing
        chips_allocated=seen.allocated.get(squeezed(node.chip), 0.0) if node.chips else 0.0,
    )
