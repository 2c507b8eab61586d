"""What a team's home tells at one glance, read through the apps' own selectors."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import F
from django.db.models.functions import Greatest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from apps.accounts import selectors as accounts
from apps.accounts.scopes import Scope
from apps.clusters import selectors as clusters
from apps.clusters import texts as cluster_texts
from apps.costs import selectors as costs
from apps.costs.selectors import Summary
from apps.http.looks import Look
from apps.jobs import selectors as jobs
from apps.jobs import texts as job_texts
from apps.jobs.rows import LIVE, shown
from regatta.lifecycle.cluster import ClusterState

if TYPE_CHECKING:
    from apps.accounts.models import Team, User

_SHOWN = 6
_LATELY = timedelta(days=1)
_ENDS_SOON = timedelta(days=14)  # of a token that was made for more than twice as long


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that waits for a person: what, why, and where to see to it."""

    look: Look
    what: str
    why: str | Promise
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """running, waiting: the first rows of jobs, of which there are `running_count` and
    `waiting_count`. first_steps: what a new team has done already."""

    running: list[dict[str, Any]]
    running_count: int
    waiting: list[dict[str, Any]]
    waiting_count: int
    recent: list[dict[str, Any]]
    clusters: list[Any]
    needs: list[Need]
    costs: Summary | None
    first_steps: dict[str, bool]

    @property
    def is_new(self) -> bool:
        return not all(self.first_steps.values())

    @property
    def ready_clusters(self) -> int:
        return sum(row.is_usable for row, _look in self.clusters)

    @property
    def starting_clusters(self) -> int:
        return sum(row.state == ClusterState.PROVISIONING for row, _look in self.clusters)

    @property
    def moving(self) -> bool:
        """Whether something will change by itself soon."""
        return bool(self.running or self.waiting) or any(
            look.moving for _row, look in self.clusters
        )


def seen(team: Team, user: User, scopes: Collection[Scope]) -> Seen:
    """The team's home, as far as the reader may see it."""
    every = jobs.jobs(team) if Scope.JOBS_READ in scopes else jobs.jobs(team).none()
    live = jobs.row_values(every.filter(state__in=sorted(LIVE)))
    running = live.exclude(state="queued").order_by("-id")
    waiting = live.filter(state="queued").order_by("-priority", "id")
    rows = list(clusters.cluster_list(team))
    return Seen(
        running=shown(running[:_SHOWN]),
        running_count=running.count(),
        waiting=shown(waiting[:_SHOWN]),
        waiting_count=waiting.count(),
        recent=shown(jobs.row_values(every.exclude(state__in=sorted(LIVE))).order_by("-id")[:8]),
        clusters=[(row, _look(row)) for row in rows],
        needs=[*_clusters_in_need(team, rows), *_jobs_in_need(team, every), *_tokens(team, user)],
        costs=costs.summary(team.pk) if Scope.COST_READ in scopes else None,
        first_steps={
            "cluster": bool(rows) or clusters.ids_of_team(team.pk).exists(),
            "job": every.exists() or Scope.JOBS_READ not in scopes,
        },
    )


def _look(row: Any) -> Look:
    return cluster_texts.look(row.state, unseen=row.unknown_since is not None)


def _clusters_in_need(team: Team, rows: Collection[Any]) -> list[Need]:
    return [
        Need(
            look=_look(row),
            what=row.name,
            why=cluster_texts.sentence(row.reason),
            href=reverse("clusters:detail", args=[team.slug, row.pk]),
        )
        for row in rows
        if row.state in {"failed", "degraded"} or row.needs_attention
    ]


def _jobs_in_need(team: Team, every: Any) -> list[Need]:
    """Jobs that failed or were lost within a day."""
    lately = every.filter(state__in=["failed", "lost"], since__gt=timezone.now() - _LATELY)
    return [
        Need(
            look=job_texts.look(job.state),
            what=job.name,
            why=job_texts.sentence(job.reason),
            href=reverse("jobs:detail", args=[team.slug, job.pk]),
        )
        for job in lately.order_by("-pk")[:5]
    ]


def _tokens(team: Team, user: User) -> list[Need]:
    now = timezone.now()
    ending = accounts.tokens(team, user=user).filter(
        expires_at__gt=Greatest(now, F("created_at") + 2 * _ENDS_SOON),
        expires_at__lt=now + _ENDS_SOON,
    )
    look = Look(_("Ends soon"), "warn", "key-round")
    return [
        Need(
            look=look,
            what=token.name,
            why=_("This API token stops working on %(day)s.")
            % {"day": f"{token.expires_at:%Y-%m-%d}"},
            href=reverse("accounts:tokens", args=[team.slug]),
        )
        for token in ending[:3]
    ]
