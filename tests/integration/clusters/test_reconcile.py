"""Clusters come to what was asked of them, with nothing but the sweep."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from clusters import a_cluster, head_of, nodes_of, sweeps
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.accounts.vault import open_
from apps.clusters import reconcile, selectors, services
from apps.clusters.models import Cluster, Node
from apps.lifecycle.models import Event
from regatta.lifecycle.cluster import Door, Role, Seen
from regatta.providers.provider import ProviderTrouble
from regatta.testing.providers import FakeProvider

pytestmark = pytest.mark.django_db
ENOUGH = 8  # sweeps, from asking to ready


class Killed(BaseException):
    """The worker's process ended here."""


class DiesAfterStart(FakeProvider):
    def start_node(self, cluster, node):
        super().start_node(cluster, node)
        raise Killed


class Unreachable(FakeProvider):
    def look(self, cluster):
        raise ProviderTrouble("no route")


def a_running_cluster(provider, **fields):
    cluster = a_cluster(**fields)
    now = sweeps(provider, count=ENOUGH)
    cluster.refresh_from_db()
    assert cluster.state == "ready"
    return cluster, now


def wish(cluster, desired):
    services.want(cluster, desired=desired, actor="user:test")


def moves_of(row):
    return list(
        Event.objects.filter(subject=row.subject).order_by("seq").values_list("new", flat=True)
    )


def test_the_sweep_alone_brings_a_cluster_up_and_to_its_end():
    provider = FakeProvider()
    cluster, now = a_running_cluster(provider)
    handle = f"clu-{cluster.pk}-s1"
    assert nodes_of(cluster) == {f"{handle}-n{number}": "ready" for number in range(3)}
    wish(cluster, "deleted")
    sweeps(provider, count=4, start=now + timedelta(minutes=1))
    assert moves_of(cluster) == ["provisioning", "ready", "deleting", "deleted"]
    assert (provider.nodes, provider.forgotten) == ({}, [f"clu-{cluster.pk}"])
    assert set(Node.objects.values_list("state", flat=True)) == {"gone"}
    cluster.refresh_from_db()
    assert (cluster.next_look_at, cluster.address) == (None, "")


def test_a_steady_cluster_is_looked_at_and_left_alone():
    provider = FakeProvider()
    _, now = a_running_cluster(provider)
    events, started = Event.objects.count(), list(provider.started)
    sweeps(provider, count=5, start=now)
    assert Event.objects.count() == events
    assert provider.started == started


def test_a_worker_killed_after_acting_starts_no_node_twice():
    a_cluster()
    dying, now = DiesAfterStart(), timezone.now() + timedelta(seconds=1)
    now = sweeps(dying, count=1, start=now)
    with pytest.raises(Killed):
        sweeps(dying, count=1, start=now)
    assert set(Node.objects.values_list("state", flat=True)) == {"wanted"}

    healthy = FakeProvider(nodes=dying.nodes, started=dying.started)
    sweeps(healthy, count=ENOUGH, start=now + reconcile.LEASE + timedelta(seconds=1))
    assert Cluster.objects.get().state == "ready"
    assert len(healthy.started) == len(set(healthy.started)) == 3


def test_a_worker_that_comes_late_changes_nothing():
    provider = FakeProvider()
    cluster, now = a_running_cluster(provider)
    [late] = Cluster.objects.claim_due(now=now, lease=reconcile.LEASE, limit=1)
    del provider.nodes[f"{cluster.handle}-s1-n1"]
    sweeps(provider, count=2, start=now + reconcile.LEASE + timedelta(seconds=1))
    before = list(Node.objects.order_by("pk").values("pk", "state", "generation"))
    events = Event.objects.count()
    reconcile.step(late, now=now, provider=provider)
    assert list(Node.objects.order_by("pk").values("pk", "state", "generation")) == before
    assert Event.objects.count() == events


def test_the_longest_waiting_cluster_has_its_turn_first():
    first, second = a_cluster(), a_cluster()
    now = timezone.now() + timedelta(seconds=1)
    Cluster.objects.filter(pk=second.pk).update(next_look_at=now - timedelta(hours=1))
    reconcile.sweep(now=now, limit=1, provider_of=lambda _: FakeProvider())
    states = dict(Cluster.objects.values_list("pk", "state"))
    assert states == {first.pk: "requested", second.pk: "provisioning"}


def test_a_cluster_in_trouble_delays_only_itself():
    blind, fine = a_cluster(), a_cluster()
    Cluster.objects.filter(pk=blind.pk).update(provider="blind")
    now = timezone.now() + timedelta(seconds=1)
    providers = {"blind": Unreachable(), "local": FakeProvider()}
    reconcile.sweep(now=now, provider_of=providers.__getitem__)
    blind.refresh_from_db()
    fine.refresh_from_db()
    assert (blind.state, blind.desired, blind.troubles) == ("requested", "running", 1)
    assert (blind.trouble, blind.lease_token) == ("ProviderTrouble: no route", None)
    assert blind.next_look_at == now + timedelta(seconds=1)
    assert fine.state == "provisioning"


def test_lost_sight_keeps_the_state_and_says_since_when():
    provider = FakeProvider()
    cluster, now = a_running_cluster(provider)
    provider.door = Door.SILENT
    for node in provider.nodes.values():
        node.seen = Seen.PRESENT
    now = sweeps(provider, count=3, start=now)
    cluster.refresh_from_db()
    assert (cluster.state, cluster.trouble) == ("ready", "ProviderTrouble: head_silent")
    assert cluster.unknown_since is not None
    provider.door = Door.GUARDED
    for node in provider.nodes.values():
        node.seen = Seen.ALIVE
    sweeps(provider, count=3, start=now + timedelta(minutes=2))
    cluster.refresh_from_db()
    assert (cluster.state, cluster.trouble, cluster.unknown_since) == ("ready", "", None)


def test_a_lost_worker_is_replaced_by_a_node_of_another_name():
    provider = FakeProvider()
    cluster, now = a_running_cluster(provider)
    lost = f"{cluster.handle}-s1-n1"
    provider.nodes[lost].seen = Seen.DEAD
    sweeps(provider, count=4, start=now)
    assert moves_of(cluster) == ["provisioning", "ready", "degraded", "ready"]
    assert sorted(nodes_of(cluster, role=Role.WORKER)) == [
        f"{cluster.handle}-s1-n2",
        f"{cluster.handle}-s1-n3",
    ]
    gone = Node.objects.get(name=lost)
    assert (gone.state, gone.reason) == ("lost", "declared_dead")
    assert gone.ended_at is not None


def test_a_lost_head_means_another_session_with_another_token():
    provider = FakeProvider()
    cluster, now = a_running_cluster(provider)
    before = open_(cluster.token)
    del provider.nodes[f"{cluster.handle}-s1-n0"]
    sweeps(provider, count=ENOUGH + 2, start=now)
    cluster.refresh_from_db()
    assert (cluster.state, cluster.session) == ("ready", 2)
    assert open_(cluster.token) != before
    assert sorted(nodes_of(cluster)) == [f"{cluster.handle}-s2-n{k}" for k in range(3)]
    assert sorted(provider.nodes) == sorted(nodes_of(cluster))


def test_growing_adds_nodes_and_shrinking_ends_the_idle_ones():
    provider = FakeProvider()
    cluster, now = a_running_cluster(provider)
    services.resize_cluster(cluster, workers=4, actor="user:test")
    now = sweeps(provider, count=4, start=now)
    assert len(nodes_of(cluster, role=Role.WORKER)) == 4
    provider.busy = frozenset({f"{cluster.handle}-s1-n4"})
    services.resize_cluster(cluster, workers=1, actor="user:test")
    sweeps(provider, count=4, start=now + timedelta(minutes=1))
    assert nodes_of(cluster, role=Role.WORKER) == {f"{cluster.handle}-s1-n4": "ready"}
    assert moves_of(cluster) == ["provisioning", "ready"]


def test_a_stopped_cluster_starts_again_in_another_session():
    provider = FakeProvider()
    cluster, now = a_running_cluster(provider)
    wish(cluster, "stopped")
    wish(cluster, "stopped")
    now = sweeps(provider, count=4, start=now + timedelta(minutes=1))
    cluster.refresh_from_db()
    assert (cluster.state, cluster.next_look_at, provider.nodes) == ("stopped", None, {})
    wish(cluster, "running")
    sweeps(provider, count=ENOUGH, start=now + timedelta(minutes=1))
    assert head_of(cluster).name == f"{cluster.handle}-s2-n0"
    cluster.refresh_from_db()
    assert cluster.state == "ready"


def test_a_node_that_does_not_heed_is_asked_until_it_does():
    provider = FakeProvider(stubborn=True)
    cluster, now = a_running_cluster(provider)
    wish(cluster, "stopped")
    now = sweeps(provider, count=4, start=now + timedelta(minutes=1))
    cluster.refresh_from_db()
    assert cluster.state == "stopping"
    assert all(node.asked_to_stop for node in provider.nodes.values())
    provider.stubborn = False
    sweeps(provider, count=3, start=now)
    cluster.refresh_from_db()
    assert cluster.state == "stopped"


def test_a_cluster_open_to_anybody_is_never_ready():
    provider = FakeProvider(door=Door.OPEN)
    cluster = a_cluster()
    now = sweeps(provider, count=ENOUGH)
    cluster.refresh_from_db()
    assert (cluster.state, cluster.reason) == ("failed", "authentication_off")
    assert (provider.nodes, cluster.next_look_at) == ({}, None)
    provider.door = Door.GUARDED
    wish(cluster, "running")
    sweeps(provider, count=ENOUGH, start=now + timedelta(minutes=1))
    cluster.refresh_from_db()
    assert cluster.state == "ready"


def test_a_wish_made_while_a_worker_looks_is_not_put_off():
    cluster, now = a_running_cluster(FakeProvider())
    wish(cluster, "stopped")

    class WishedMeanwhile(FakeProvider):
        def look(self, spec):
            if Cluster.objects.get().state == "stopping":
                wish(cluster, "running")
            return super().look(spec)

    meddled = WishedMeanwhile()
    sweeps(meddled, count=4, start=now + timedelta(minutes=1))
    sweeps(meddled, count=ENOUGH, start=now + timedelta(minutes=5))
    cluster.refresh_from_db()
    assert (cluster.state, cluster.session) == ("ready", 2)


def test_what_bears_our_mark_and_no_row_wants_is_ended():
    provider = FakeProvider()
    cluster, _ = a_running_cluster(provider)
    orphan = f"{cluster.handle}-s9-n9"
    provider.nodes[orphan] = provider.nodes[f"{cluster.handle}-s1-n1"]
    assert reconcile.sweep_orphans(provider_of=lambda _: provider) == [orphan]
    assert sorted(provider.nodes) == sorted(nodes_of(cluster))


def test_the_database_refuses_a_second_live_head_and_an_end_without_a_time():
    cluster, _ = a_running_cluster(FakeProvider())
    with pytest.raises(IntegrityError), transaction.atomic():
        reconcile._add_node(cluster, session=2, number=0)
    with pytest.raises(IntegrityError), transaction.atomic():
        Node.objects.filter(cluster=cluster).update(state="gone")


def test_the_token_is_kept_sealed():
    cluster, _ = a_running_cluster(FakeProvider())
    with connection.cursor() as cursor:
        cursor.execute("SELECT token FROM clusters_cluster")
        kept = cursor.fetchone()[0]
    assert len(open_(kept)) == 43
    assert open_(kept) not in kept
    assert cluster.token == kept


def test_turns_and_leases_go_by_the_clock_of_the_database():
    a_cluster()
    reconcile.sweep(now=Now(), provider_of=lambda _: FakeProvider())
    cluster = Cluster.objects.get()
    assert (cluster.state, cluster.lease_until) == ("provisioning", None)


@pytest.mark.django_db(transaction=True)
def test_a_cluster_whose_provider_hangs_holds_up_no_other_and_no_further_sweep(monkeypatch):
    monkeypatch.setattr(reconcile, "_PATIENCE_S", 1.0)
    slow, quick = a_cluster(workers=0), a_cluster(workers=0)
    answers, asked = threading.Event(), []

    class Slow(FakeProvider):
        def look(self, cluster):
            if cluster.handle == slow.handle:
                asked.append(threading.current_thread())
                answers.wait(30)
            return super().look(cluster)

    provider, now = Slow(), timezone.now() + timedelta(seconds=1)
    for _ in range(ENOUGH):
        reconcile.sweep(now=now, limit=8, at_once=8, provider_of=lambda _: provider)
        now += timedelta(seconds=5)
    quick.refresh_from_db()
    assert (quick.state, len(asked)) == ("ready", 1)  # the lease keeps others from the slow one
    answers.set()
    asked[0].join(30)
    slow.refresh_from_db()
    assert (slow.state, slow.lease_token) == ("provisioning", None)


def test_a_lease_whose_turn_came_too_late_is_given_back_for_the_next_sweep(monkeypatch):
    monkeypatch.setattr(reconcile, "_BEGIN_WITHIN_S", -1.0)
    cluster, provider = a_cluster(), FakeProvider()
    due_at = cluster.next_look_at
    sweeps(provider, count=1)
    cluster.refresh_from_db()
    assert (cluster.state, cluster.lease_token) == ("requested", None)
    assert cluster.next_look_at >= due_at
    monkeypatch.undo()
    sweeps(provider, count=1)
    cluster.refresh_from_db()
    assert cluster.state == "provisioning"


@pytest.mark.django_db(transaction=True)
def test_clusters_swept_side_by_side_come_to_what_was_asked():
    provider, made = FakeProvider(), [a_cluster(workers=1) for _ in range(3)]
    now = timezone.now() + timedelta(seconds=1)
    for _ in range(ENOUGH):
        reconcile.sweep(now=now, limit=8, at_once=8, provider_of=lambda _: provider)
        now += timedelta(seconds=5)
    assert [moves_of(cluster) for cluster in made] == [["provisioning", "ready"]] * 3


def test_what_nodes_wrote_before_they_failed_is_told_with_their_end_and_the_clusters():
    provider, cluster = FakeProvider(), a_cluster(workers=0)
    now = sweeps(provider, count=3)
    for number, failures in ((1, 0), (2, 4)):
        Cluster.objects.update(failures=failures, failed_at=None)
        name = f"{cluster.handle}-s{number}-n0"
        provider.words[name] = f"no disk, try {number}"
        assert provider.nodes.pop(name)
        now = sweeps(provider, count=4, start=now)
    cluster.refresh_from_db()
    assert (cluster.state, cluster.reason) == ("failed", "nodes_keep_failing")
    assert selectors.last_words(cluster) == "no disk, try 2"
    first = Node.objects.get(name=f"{cluster.handle}-s1-n0")
    assert Event.objects.get(subject=first.subject, new="lost").detail == {
        "quote": "no disk, try 1"
    }
