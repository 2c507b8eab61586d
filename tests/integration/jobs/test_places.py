"""Clusters as the reconciler of jobs sees them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from clusters import a_ready_cluster
from jobs import a_job, told

from apps.clusters.models import Cluster
from apps.clusters.services import NodeWish
from apps.jobs import tasks
from apps.jobs.places import place_of
from regatta.lifecycle.attempt import Seen
from regatta.rayjobs.client import RayJobs

pytestmark = pytest.mark.django_db


def a_place_in(state):
    cluster = a_ready_cluster()
    Cluster.objects.filter(pk=cluster.pk).update(state=state)
    return place_of(cluster.pk)


def test_a_ready_cluster_can_be_asked_and_offers_what_its_workers_have():
    node = NodeWish(cpus=2, memory_bytes=1 << 30, chip="P800", chips=4)
    place = place_of(a_ready_cluster(workers=3, node=node).pk)
    assert isinstance(place.launcher, RayJobs)
    assert place.session == "1"
    assert place.capacity == {
        "cpus": Decimal(6),
        "memory_bytes": Decimal(3 << 30),
        "chips": Decimal(12),
        "chip:P800": Decimal(12),
    }
    assert sum(place.nodes_by_kind.values()) == 4


def test_a_connection_to_a_head_is_kept():
    cluster = a_ready_cluster()
    first, second = place_of(cluster.pk), place_of(cluster.pk)
    assert first.launcher._http is second.launcher._http


@pytest.mark.parametrize(
    ("state", "unseen"),
    [
        ("requested", Seen.HIDDEN),
        ("provisioning", Seen.HIDDEN),
        ("stopping", Seen.HIDDEN),
        ("deleting", Seen.HIDDEN),
        ("stopped", Seen.FORGOTTEN),
        ("failed", Seen.FORGOTTEN),
        ("deleted", Seen.GONE),
    ],
)
def test_a_cluster_that_cannot_be_asked_says_what_became_of_its_work(state, unseen):
    place = a_place_in(state)
    assert (place.launcher, place.unseen) == (None, unseen)


def test_the_task_puts_off_a_job_whose_head_does_not_answer():
    cluster = a_ready_cluster(address="http://127.0.0.1:9")  # nobody listens there
    job = a_job(cluster)
    attempt = job.attempts.get()
    tasks.reconcile_attempts(attempt.pk)
    attempt.refresh_from_db()
    assert told(job) == ("starting", "placed")
    assert (attempt.troubles, attempt.trouble.split(":")[0]) == (1, "ConnectError")
    tasks.stop_strays()
