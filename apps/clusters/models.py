"""Clusters and their nodes."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.lifecycle.models import Stateful, StatefulQuerySet
from regatta.lifecycle.cluster import (
    MOVES,
    NODE_MOVES,
    NODE_TERMINAL,
    USABLE,
    ClusterState,
    Desired,
    NodeState,
    Role,
)
from regatta.providers.labels import wrong_label

GIB = 1 << 30
MOST_WORKERS, MOST_CPUS, MOST_CHIPS, MOST_MEMORY_BYTES = 32, 512, 64, 64 << 40
LEAST_MEMORY_BYTES, USUAL_MEMORY_BYTES = GIB // 4, 2 * GIB
_ENDED = Q(state__in=sorted(NODE_TERMINAL))
_NAME = RegexValidator(
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z",
    gettext_lazy("Use small letters, figures and hyphens, and begin and end without a hyphen."),
)
_CHIP = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9 ._-]*\Z",
    gettext_lazy("Name a chip by letters, figures, blanks and . _ - only."),
)


def check_labels(labels: Any) -> None:
    """Raises: ValidationError for what Ray would not take as labels, or what Ray itself sets."""
    if wrong := wrong_label(labels):
        raise ValidationError(
            _("%(label)s is not a label: use at most 16 of up to 63 letters, figures and . _ -."),
            params={"label": wrong},
        )


class ClusterQuerySet(StatefulQuerySet):
    """Clusters by who may see them and whether they still are."""

    def present(self) -> ClusterQuerySet:
        """Those that are not deleted."""
        return self.exclude(state=ClusterState.DELETED)

    def usable(self) -> ClusterQuerySet:
        """Those whose head answers."""
        return self.filter(state__in=sorted(USABLE))


class Cluster(Stateful):
    """A team's cluster: what is wished of it, and which session of it runs.

    node_*: what each worker offers; chips are simulated, they place work and compute nothing.
    token: sealed; each session has its own. failures: in a row, the last of them at `failed_at`.
    """

    MOVES = MOVES

    state = models.CharField(max_length=20, default=ClusterState.REQUESTED.value)
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(gettext_lazy("name"), max_length=40, validators=[_NAME])
    provider = models.CharField(gettext_lazy("provider"), max_length=20, default="local")
    desired = models.CharField(max_length=20, default=Desired.RUNNING.value)
    workers = models.PositiveIntegerField(
        gettext_lazy("worker nodes"), default=2, validators=[MaxValueValidator(MOST_WORKERS)]
    )
    node_cpus = models.PositiveIntegerField(
        gettext_lazy("CPUs of a worker"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_CPUS)],
    )
    node_memory_bytes = models.BigIntegerField(
        gettext_lazy("memory of a worker"),
        default=USUAL_MEMORY_BYTES,
        validators=[
            MinValueValidator(LEAST_MEMORY_BYTES, gettext_lazy("Give at least 0.25 GiB.")),
            MaxValueValidator(MOST_MEMORY_BYTES, gettext_lazy("Give at most 65536 GiB.")),
        ],
    )
    node_labels = models.JSONField(
        gettext_lazy("labels"), default=dict, blank=True, validators=[check_labels]
    )
    node_chip = models.CharField(
        gettext_lazy("simulated chip"), max_length=60, blank=True, validators=[_CHIP]
    )
    node_chips = models.PositiveIntegerField(
        gettext_lazy("simulated chips of a worker"),
        default=0,
        validators=[MaxValueValidator(MOST_CHIPS)],
    )
    session = models.PositiveIntegerField(default=0)
    token = models.CharField(max_length=300, blank=True)
    address = models.CharField(max_length=200, blank=True)
    failures = models.PositiveIntegerField(default=0)
    failed_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=120)
    created_at = models.DateTimeField(db_default=Now())

    objects = ClusterQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            CheckConstraint(
                condition=Q(state__in=sorted(ClusterState)), name="cluster_state_known"
            ),
            CheckConstraint(condition=Q(desired__in=sorted(Desired)), name="cluster_wish_known"),
            CheckConstraint(
                condition=Q(node_chips=0, node_chip="") | (Q(node_chips__gt=0) & ~Q(node_chip="")),
                name="cluster_chips_have_a_name",
                violation_error_message=gettext_lazy(
                    "Give both the chip and how many of it, or neither."
                ),
            ),
            UniqueConstraint(
                fields=["team", "name"],
                condition=~Q(state=ClusterState.DELETED.value),
                name="one_cluster_of_a_name",
                violation_error_message=gettext_lazy("The team has a cluster of this name."),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def handle(self) -> str:
        """The name of this cluster in the world."""
        return f"clu-{self.pk}"

    @property
    def is_usable(self) -> bool:
        """Whether its head answers, so that jobs may run."""
        return self.state in USABLE

    @property
    def node_memory_gib(self) -> float:
        return self.node_memory_bytes / GIB


class NodeQuerySet(StatefulQuerySet):
    """Nodes by whether they still are."""

    def live(self) -> NodeQuerySet:
        """Those that have not ended."""
        return self.exclude(_ENDED)

    def ready(self) -> NodeQuerySet:
        return self.filter(state=NodeState.READY.value)


class Node(Stateful):
    """One node of one session. Its end is final; what replaces it is another row.

    kind: by which it is priced. started_at, ended_at: what it is paid for.
    """

    MOVES = NODE_MOVES

    state = models.CharField(max_length=20, default=NodeState.WANTED.value)
    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="nodes")
    session = models.PositiveIntegerField()
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=60, unique=True)
    role = models.CharField(max_length=10)
    kind = models.CharField(max_length=80)
    cpus = models.PositiveIntegerField()
    memory_bytes = models.BigIntegerField()
    labels = models.JSONField(default=dict, blank=True)
    chip = models.CharField(max_length=60, blank=True)
    chips = models.PositiveIntegerField(default=0)
    address = models.CharField(max_length=60, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = NodeQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            CheckConstraint(condition=Q(state__in=sorted(NodeState)), name="node_state_known"),
            CheckConstraint(condition=Q(role__in=sorted(Role)), name="node_role_known"),
            CheckConstraint(
                condition=~_ENDED | Q(started_at=None) | Q(ended_at__isnull=False),
                name="node_of_the_past_has_an_end",
            ),
            UniqueConstraint(fields=["cluster", "session", "number"], name="node_number_once"),
            UniqueConstraint(
                fields=["cluster"],
                condition=Q(role=Role.HEAD.value) & ~_ENDED,
                name="one_live_head_per_cluster",
            ),
        ]

    def __str__(self) -> str:
        return self.name
