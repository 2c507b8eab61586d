"""Builders of jobs, and of the world in which they run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count

from django.utils import timezone
from people import a_team, owner_of

from apps.clusters.models import Cluster
from apps.jobs import reconcile, services
from apps.jobs.models import Attempt, Job
from apps.jobs.places import Place
from apps.jobs.spec import JobSpec
from regatta.lifecycle.attempt import Seen
from regatta.testing.launchers import FakeLauncher

_numbers = count(1)
EVERY = timedelta(seconds=20)  # longer than any pause between two looks


def a_cluster_of(team=None, **fields):
    """A cluster's row, ready by its own word, with room for eight CPUs."""
    fields = {"workers": 2, "node_cpus": 4, "state": "ready", "created_by": "test"} | fields
    name = fields.pop("name", f"pool{next(_numbers)}")
    return Cluster.objects.create(team=team or a_team(), name=name, **fields)


def a_spec(cluster, **fields):
    fields = {"name": "a job", "entrypoint": "python main.py"} | fields
    return JobSpec(cluster_id=cluster.pk, **fields)


def a_job(cluster=None, *, team=None, user=None, source="api", **fields):
    cluster = cluster or a_cluster_of(team)
    user = user or owner_of(cluster.team)
    spec = a_spec(cluster, **fields)
    return services.submit_job(spec, team=cluster.team, user=user, actor="test", source=source)


class World:
    """Clusters in memory: every one is ready and has room for eight CPUs, until told otherwise."""

    def __init__(self, launcher=None):
        self.launcher = launcher or FakeLauncher()
        self.now = timezone.now() + EVERY  # so that what was asked just now is due
        self.place = Place(
            launcher=self.launcher,
            session="1",
            capacity={"cpus": Decimal(8), "memory_bytes": Decimal(1 << 34), "chips": Decimal(0)},
            nodes_by_kind={"local": 2},
        )
        self.other = {}

    def places(self, cluster_id):
        return self.other.get(cluster_id, self.place)

    def change(self, cluster=None, **fields):
        """Let all clusters, or one, be different from now on."""
        place = replace(self.places(cluster.pk if cluster else 0), **fields)
        if cluster:
            self.other[cluster.pk] = place
        else:
            self.place = place

    def hide(self, cluster=None, unseen=Seen.HIDDEN):
        self.change(cluster, launcher=None, unseen=unseen)

    def sweep(self, times=1, **kwargs):
        for _ in range(times):
            reconcile.sweep(places=self.places, now=self.now, **kwargs)
            self.now += EVERY


def the_attempt(job=None):
    return (Attempt.objects.filter(job=job) if job else Attempt.objects).latest("number")


def states(job=None):
    rows = Attempt.objects.order_by("job_id", "number")
    return [row.state for row in (rows.filter(job=job) if job else rows)]


def told(job):
    """What the job's own row tells."""
    return Job.objects.values_list("state", "reason").get(pk=job.pk)
