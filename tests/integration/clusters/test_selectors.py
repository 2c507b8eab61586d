"""What other apps may know of clusters."""

from __future__ import annotations

from datetime import timedelta

import pytest
from clusters import a_cluster, a_ready_cluster, sweeps
from people import a_team

from apps.clusters import selectors, services
from apps.clusters.models import Cluster, Node
from apps.clusters.selectors import Capacity, Endpoint, LiveCluster
from apps.clusters.services import NodeWish
from apps.http.problems import Refused
from regatta.testing.providers import FakeProvider

pytestmark = pytest.mark.django_db
GIB = 1 << 30


def test_only_a_cluster_whose_head_answers_has_an_endpoint():
    cluster = a_ready_cluster(token="secret")
    url = "http://127.0.0.1:8265"
    assert selectors.endpoint(cluster.pk) == Endpoint(address=url, token="secret", session=1)
    assert "secret" not in repr(selectors.endpoint(cluster.pk))
    for state, there in [("degraded", True), ("provisioning", False), ("deleted", False)]:
        Cluster.objects.filter(pk=cluster.pk).update(state=state)
        assert (selectors.endpoint(cluster.pk) is not None) is there
    assert selectors.endpoint(0) is None


def test_capacity_is_what_ready_workers_offer_and_every_node_is_priced():
    wish = NodeWish(cpus=3, memory_bytes=4 * GIB, chip="P800", chips=8)
    cluster = a_ready_cluster(workers=2, node=wish)
    kinds = {"local": 1, "local:P800": 2}
    assert selectors.capacity(cluster.pk) == Capacity(
        cpus=6, memory_bytes=8 * GIB, chips={"P800": 16}, nodes_by_kind=kinds
    )
    assert selectors.planned_kinds(cluster.pk) == kinds
    Node.objects.filter(cluster=cluster, number=2).update(state="starting")
    assert selectors.capacity(cluster.pk).cpus == 3
    assert selectors.planned_capacity(cluster.pk).cpus == 6
    assert selectors.capacity(0) == Capacity()


def test_a_node_is_paid_for_from_its_start_to_its_end():
    cluster = a_cluster(workers=1)
    provider = FakeProvider()
    now = sweeps(provider, count=1)
    assert selectors.node_lifetimes(ids=[cluster.pk]) == {}
    now = sweeps(provider, count=7, start=now)
    alive = selectors.node_lifetimes(team_id=cluster.team_id)[cluster.pk]
    assert [(node.kind, node.ended_at) for node in alive] == [("local", None)] * 2
    services.want(cluster, desired="deleted", actor="user:test")
    sweeps(provider, count=4, start=now + timedelta(minutes=1))
    ended = selectors.node_lifetimes(ids=[cluster.pk])[cluster.pk]
    assert [node.started_at for node in ended] == [node.started_at for node in alive]
    assert all(node.ended_at >= node.started_at for node in ended)
    assert selectors.node_lifetimes(ids=[cluster.pk], since=ended[-1].ended_at) == {}


def test_live_clusters_and_nodes_are_those_that_can_be_asked():
    ready, _ = a_ready_cluster(workers=1), a_cluster()
    assert selectors.live_clusters() == [
        LiveCluster(pk=ready.pk, team_id=ready.team_id, name=ready.name, session=1)
    ]
    assert [node.role for node in selectors.live_nodes(ready.pk)] == ["head", "worker"]
    assert selectors.cluster_state(ready.pk) == "ready"
    assert selectors.cluster_state(0) is None
    assert selectors.team_id(ready.pk) == ready.team_id


def test_a_cluster_is_picked_by_name_by_number_or_for_being_the_only_one():
    team = a_team()
    with pytest.raises(Refused, match="Create a cluster first"):
        selectors.pick(team, None)
    one = a_cluster(team, name="one")
    assert selectors.pick(team, None) == one.pk
    two = a_cluster(team, name=str(one.pk))
    assert selectors.pick(team, "one") == one.pk
    assert selectors.pick(team, str(one.pk)) == two.pk
    assert selectors.pick(team, two.pk) == two.pk
    with pytest.raises(Refused, match="several"):
        selectors.pick(team, "")
    foreign = a_cluster(a_team(), name="foreign")
    for given in ("foreign", foreign.pk, "9" * 30):
        with pytest.raises(Refused) as refusal:
            selectors.pick(team, given)
        assert refusal.value.code == "unknown_cluster"
