"""Writes that mean something to a person: what is wished of clusters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from apps.accounts.services import audit
from apps.clusters.models import USUAL_MEMORY_BYTES, Cluster
from apps.http.problems import Refused
from apps.lifecycle.nudge import announce, nudge
from regatta import providers
from regatta.lifecycle.cluster import ClusterState, Desired

if TYPE_CHECKING:
    from apps.accounts.models import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWish:
    """What each worker should offer. chip, chips: simulated accelerators."""

    cpus: int = 1
    memory_bytes: int = USUAL_MEMORY_BYTES
    labels: Mapping[str, str] = field(default_factory=dict)
    chip: str = ""
    chips: int = 0


@transaction.atomic
def create_cluster(
    *,
    team: Team,
    name: str,
    provider: str = "local",
    workers: int = 2,
    node: NodeWish | None = None,
    actor: str,
) -> Cluster:
    """Ask for a cluster; the reconciler brings it about.

    Raises: ValidationError for a field that cannot be, Refused for an unknown provider.
    """
    if provider not in providers.NAMES:
        known = ", ".join(providers.NAMES)
        said = _("There is no provider %(given)s; there are: %(known)s.")
        raise Refused(
            "unknown_provider",
            said % {"given": provider[:40], "known": known},
            pointer="/provider",
        )
    node = node or NodeWish()
    cluster = Cluster(
        team=team,
        name=name,
        provider=provider,
        workers=workers,
        node_cpus=node.cpus,
        node_memory_bytes=node.memory_bytes,
        node_labels=dict(node.labels),
        node_chip=node.chip,
        node_chips=node.chips,
        created_by=actor,
    )
    cluster.full_clean()
    cluster.save()
    audit(
        team=cluster.team,
        actor=actor,
        action="cluster.create",
        subject=cluster.subject,
        name=name,
        workers=workers,
    )
    _wake(cluster)
    return cluster


@transaction.atomic
def resize_cluster(
    cluster: Cluster, *, workers: int, actor: str, generation: int | None = None
) -> Cluster:
    """Ask for another number of workers.

    Raises: ValidationError for a number that cannot be, Refused as `want`.
    """
    row = _lock(cluster, generation)
    if row.workers != workers:
        before, row.workers = row.workers, workers
        row.full_clean()
        row.save(update_fields=["workers"])
        audit(
            team=row.team,
            actor=actor,
            action="cluster.resize",
            subject=row.subject,
            before=before,
            workers=workers,
        )
    _wake(row)
    return row


@transaction.atomic
def want(cluster: Cluster, *, desired: str, actor: str, generation: int | None = None) -> Cluster:
    """Ask that the cluster run, stop or be deleted. Asking twice changes nothing.

    A cluster that failed is tried again when it is asked to run; what is being deleted stays so.
    generation: the one that the caller has seen; another one is refused.
    Raises: Refused.
    """
    if desired not in set(Desired):
        said = _("Wish for one of: %(known)s.") % {"known": ", ".join(Desired)}
        raise Refused("unknown_wish", said, pointer="/desired")
    row = _lock(cluster, generation, deleting=desired == Desired.DELETED)
    again = row.state == ClusterState.FAILED and desired == Desired.RUNNING
    if row.desired != desired or (again and row.failures):
        row.desired = desired
        row.failures = 0 if desired == Desired.RUNNING else row.failures
        row.save(update_fields=["desired", "failures"])
        audit(team=row.team, actor=actor, action=f"cluster.{desired}", subject=row.subject)
    _wake(row)
    return row


def look_again(cluster: Cluster) -> None:
    """Have the reconciler look at the cluster now."""
    with transaction.atomic():
        _wake(cluster)


def _lock(cluster: Cluster, generation: int | None, *, deleting: bool = False) -> Cluster:
    """The row as it is now, held until the transaction ends.

    Raises: Refused for one that is on its way out, or has moved since it was seen.
    """
    row: Cluster = Cluster.objects.select_for_update(no_key=True, of=("self",)).get(pk=cluster.pk)
    if generation is not None and generation != row.generation:
        said = _("The cluster has changed since you read it (generation %(now)d); read it again.")
        raise Refused("stale", said % {"now": row.generation}, status=412)
    if row.desired == Desired.DELETED and not deleting:
        said = _("The cluster %(name)s is deleted, or about to be; create another.")
        raise Refused("deleted", said % {"name": row.name}, status=409)
    return row


def _wake(cluster: Cluster) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(next_look_at=Now())
    nudge("clusters.reconcile", cluster.pk)
    announce(cluster.subject)
