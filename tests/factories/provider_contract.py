"""What every provider promises: a file of tests imports these, and gives the two fixtures.

provider: an empty one. eventually(check): call `check` until it holds, as long as its world needs.
"""

from __future__ import annotations

import pytest

from regatta.lifecycle.cluster import Door, Role, Seen
from regatta.providers.provider import ClusterSpec, NodeSpec, ProviderTrouble, SimulatedChip

MIB = 1 << 20
CHIP = SimulatedChip(chip="Kunlun-P800", count=4)


def a_head(cluster="clu-1"):
    name = f"{cluster}-s1-n0"
    return NodeSpec(name=name, role=Role.HEAD, cpus=0, memory_bytes=512 * MIB)


def a_worker(cluster="clu-1", number=1, **fields):
    name = f"{cluster}-s1-n{number}"
    return NodeSpec(name=name, role=Role.WORKER, cpus=1, memory_bytes=512 * MIB, **fields)


def a_spec(*nodes, cluster="clu-1", token="t" * 43):
    return ClusterSpec(handle=cluster, session=1, token=token, nodes=nodes)


def test_what_was_never_started_is_absent(provider):
    sight = provider.look(a_spec(a_head(), a_worker()))
    assert (sight.door, sight.joinable, dict(sight.nodes)) == (Door.SILENT, False, {})
    assert provider.running() == {}


def test_stopping_what_was_never_started_does_nothing(provider):
    provider.stop_node("clu-1", "clu-1-s1-n1")
    provider.stop_node("clu-1", "clu-1-s1-n1", force=True)
    provider.forget("clu-1")
    assert provider.running() == {}


def test_a_worker_needs_a_head_to_join(provider):
    with pytest.raises(ProviderTrouble, match="clu-1-s1-n1 has no head to join"):
        provider.start_node(a_spec(a_worker()), a_worker())
    assert provider.running() == {}


def test_a_cluster_lives_from_its_start_to_its_end(provider, eventually):
    head, worker = a_head(), a_worker(labels={"zone": "a"}, simulated=CHIP)
    spec = a_spec(head, worker)
    provider.start_node(spec, head)
    provider.start_node(spec, head)
    eventually(lambda: provider.look(spec).joinable)
    provider.start_node(spec, worker)
    provider.start_node(spec, worker)
    assert dict(provider.running()) == {head.name: "clu-1", worker.name: "clu-1"}

    alive = {head.name: Seen.ALIVE, worker.name: Seen.ALIVE}
    eventually(lambda: dict(provider.look(spec).nodes) == alive)
    sight = provider.look(spec)
    assert sight.door is Door.GUARDED
    assert sight.address.startswith("http://127.0.0.1:")
    assert set(sight.hosts) == {head.name, worker.name}
    stranger = provider.look(a_spec(a_head("clu-2"), cluster="clu-2"))
    assert (stranger.door, dict(stranger.nodes)) == (Door.SILENT, {})

    provider.stop_node("clu-1", worker.name)
    eventually(lambda: dict(provider.look(spec).nodes) == {head.name: Seen.ALIVE})
    provider.stop_node("clu-1", worker.name, force=True)  # nothing is left, but to clear up
    assert dict(provider.running()) == {head.name: "clu-1"}
    provider.stop_node("clu-1", head.name, force=True)
    eventually(lambda: dict(provider.look(spec).nodes) == {})
    provider.stop_node("clu-1", head.name, force=True)
    assert provider.running() == {}
    provider.forget("clu-1")
