"""What must always be true of the data: each a query for the rows of which it is not.

The letters and figures (I1 … I8) are those of `regatta doctor`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from django.apps import apps as registry
from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from apps.accounts.vault import Unreadable
from apps.clusters import selectors as clusters
from regatta import providers
from regatta.health.finding import Finding
from regatta.lifecycle import attempt, cluster
from regatta.providers.provider import ProviderTrouble
from regatta.rayjobs.audit import live_by_handle
from regatta.rayjobs.client import BadAnswer, connect

_SHOWN = 5
_LATE = "interval '15 minutes'"
_SWEPT_WITHIN = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Invariant:
    """A sentence that holds, and a query whose first column names what breaks it."""

    code: str
    broken: str
    sql: str
    advice: str = "This is a bug: keep the database's backup, and report it with these names."
    severity: str = "error"


_ENDS = {
    "jobs.attempt": attempt.TERMINAL,
    "clusters.cluster": cluster.TERMINAL,
    "clusters.node": cluster.NODE_TERMINAL,
}
_ATTEMPT_ENDS = ", ".join(f"'{state}'" for state in sorted(attempt.TERMINAL))
_LOOK = "See its page for the trouble; `regatta up` must be running for it to move."

INVARIANTS = (
    Invariant(
        "I1",
        "Jobs that were accepted and have no attempt, or fewer than they count",
        """SELECT 'jobs.job:' || j.id FROM jobs_job j LEFT JOIN jobs_attempt a ON a.job_id = j.id
           GROUP BY j.id HAVING count(a.id) <> j.attempt_number
           OR count(a.id) <> coalesce(max(a.number), 0) OR count(a.id) = 0""",
    ),
    Invariant(
        "I1",
        "Accepted submissions without a job",
        """SELECT 'http.keptanswer:' || k.id FROM http_keptanswer k
           WHERE k.route = 'POST /api/v1/jobs' AND k.status = 202 AND NOT EXISTS (
             SELECT FROM jobs_job j WHERE j.id = (k.body::jsonb ->> 'id')::bigint)""",
    ),
    Invariant(
        "I2",
        "Jobs with more than one live attempt",
        f"""SELECT 'jobs.job:' || job_id FROM jobs_attempt WHERE state NOT IN ({_ATTEMPT_ENDS})
            GROUP BY job_id HAVING count(*) > 1""",
    ),
    Invariant(
        "I2",
        "Jobs that tell another state than their latest attempt",
        """SELECT 'jobs.job:' || j.id FROM jobs_job j
           JOIN jobs_attempt a ON a.job_id = j.id AND a.number = j.attempt_number
           WHERE a.state <> j.state""",
    ),
    *(
        Invariant(
            "I4",
            "Moves out of a final state",
            "SELECT DISTINCT subject FROM lifecycle_event WHERE subject LIKE "
            f"'{kind}:%' AND old IN ({', '.join(repr(str(state)) for state in sorted(ends))})",
        )
        for kind, ends in _ENDS.items()
    ),
    Invariant(
        "I5",
        "Gaps in the record of events",
        """SELECT subject FROM lifecycle_event
           GROUP BY subject HAVING min(seq) <> 1 OR max(seq) <> count(*)""",
    ),
    *(
        Invariant(
            "I5",
            "Rows whose moves are not all recorded",
            f"""SELECT '{kind}:' || r.id FROM {kind.replace(".", "_")} r
                WHERE r.generation <> (SELECT count(*) FROM lifecycle_event
                                       WHERE subject = '{kind}:' || r.id)""",
        )
        for kind in _ENDS
    ),
    Invariant(
        "I6",
        "Logs with a gap",
        """SELECT DISTINCT 'jobs.attempt:' || attempt_id FROM (
             SELECT attempt_id, byte_from,
               lag(byte_to, 1, 0::bigint) OVER (PARTITION BY attempt_id ORDER BY byte_from) AS due
             FROM jobs_logchunk) chunk WHERE byte_from <> due""",
    ),
    Invariant(
        "I6",
        "Logs that are longer or shorter than they say",
        """SELECT 'jobs.attempt:' || l.attempt_id FROM jobs_log l
           WHERE l.stored_bytes <> (SELECT coalesce(max(c.byte_to), 0)
                                    FROM jobs_logchunk c WHERE c.attempt_id = l.attempt_id)""",
    ),
    Invariant(
        "I7",
        "Attempts that ended and go on costing",
        f"""SELECT 'jobs.attempt:' || a.id FROM jobs_attempt a
            JOIN costs_meter m ON m.name = 'jobs.attempt:' || a.id AND m.stopped_at IS NULL
            WHERE a.state IN ({_ATTEMPT_ENDS})""",
    ),
    Invariant(
        "I7",
        "Meters of one name and kind that run at the same time",
        """SELECT DISTINCT a.name FROM costs_meter a JOIN costs_meter b
           ON a.name = b.name AND a.kind = b.kind AND a.id < b.id
           AND tstzrange(a.started_at, a.stopped_at) && tstzrange(b.started_at, b.stopped_at)""",
    ),
    Invariant(
        "I7",
        "Meters that run on though no node of their cluster has for 15 minutes",
        f"""SELECT DISTINCT m.name FROM costs_meter m
            WHERE m.stopped_at IS NULL AND m."on" LIKE 'clusters.cluster:%' AND NOT EXISTS (
              SELECT FROM clusters_node n
              WHERE n.cluster_id = split_part(m."on", ':', 2)::bigint AND n.started_at IS NOT NULL
              AND (n.ended_at IS NULL OR n.ended_at > now() - {_LATE}))""",
        advice=_LOOK,
        severity="warning",
    ),
    Invariant(
        "I8",
        "Jobs that were to stop more than 15 minutes ago and have not, without saying why",
        f"""SELECT 'jobs.job:' || j.id FROM jobs_job j
            JOIN jobs_attempt a ON a.job_id = j.id AND a.number = j.attempt_number
            WHERE j.desired = 'stopped' AND a.state NOT IN ({_ATTEMPT_ENDS})
            AND a.since < now() - {_LATE} AND a.trouble = '' AND a.unknown_since IS NULL""",
        advice=_LOOK,
    ),
    Invariant(
        "I8",
        "Clusters that were to stop or go more than 15 minutes ago, without saying why",
        f"""SELECT 'clusters.cluster:' || c.id FROM clusters_cluster c
            WHERE c.since < now() - {_LATE} AND c.trouble = '' AND c.unknown_since IS NULL
            AND (c.desired = 'deleted' AND c.state <> 'deleted'
              OR c.desired = 'stopped' AND c.state NOT IN ('stopped', 'deleted', 'failed'))""",
        advice=_LOOK,
    ),
    *(
        Invariant(
            "sweep",
            "Rows whose turn came more than a minute ago",
            f"""SELECT '{kind}:' || id FROM {kind.replace(".", "_")}
                WHERE next_look_at < now() - interval '1 minute'
                AND (lease_until IS NULL OR lease_until < now())""",
            advice="The ticker is away or slow: is `regatta up` running, and the machine idle?",
            severity="warning",
        )
        for kind in ("jobs.attempt", "clusters.cluster")
    ),
)


def broken() -> Iterator[Finding]:
    """Every invariant that does not hold now."""
    for invariant in INVARIANTS:
        names = _names(invariant.sql)
        if names:
            yield _finding(invariant, names)
    yield from _strays()
    yield from _jobs()


def _finding(invariant: Invariant, names: list[str]) -> Finding:
    shown = ", ".join(names[:_SHOWN]) + (
        f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
    )
    what = f"{invariant.broken}: {shown}"
    return Finding(invariant.code, invariant.severity, what, invariant.advice)


def _names(sql: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [str(name) for (name, *_) in cursor.fetchall()]


def _strays() -> Iterator[Finding]:
    """I3: what runs in the world without a row that wants it."""
    node: Any = registry.get_model("clusters", "Node")
    ended = Q(state__in=sorted(cluster.NODE_TERMINAL), since__lt=Now() - _SWEPT_WITHIN)
    wanted = set(node.objects.exclude(ended).values_list("name", flat=True))
    for name in providers.NAMES:
        try:
            running = providers.provider(name, home=settings.REGATTA_HOME).running()
        except ProviderTrouble as error:
            advice = "Nothing is known of its nodes until it answers."
            yield Finding("I3", "warning", f"The provider {name} cannot be asked: {error}", advice)
            continue
        strays = sorted(one for one in running if one not in wanted)
        if strays:
            yield Finding(
                "I3",
                "error",
                f"Nodes that run and that no row wants: {', '.join(strays[:_SHOWN])}",
                "The next sweep of a running portal ends them: start `regatta up`.",
            )


def _jobs() -> Iterator[Finding]:
    """I3: what clusters run that no attempt wants, and attempts that run nowhere."""
    for live in clusters.live_clusters():
        name = f"clusters.cluster:{live.pk}"
        try:
            end = clusters.endpoint(live.pk)
            if end is None:
                continue
            with connect(end.address, end.token) as head:
                there = live_by_handle(head)
        except (httpx.HTTPError, BadAnswer, Unreadable) as error:
            advice = "Nothing is known of its jobs until it answers."
            what = f"The head of {name} cannot be asked: {error!r}"
            yield Finding("I3", "warning", what, advice)
            continue
        wanted, missing = _attempts_of(live.pk, session=str(end.session), there=there)
        strays = sorted(
            handle for handle, lives in there.items() if lives and handle not in wanted
        )
        if strays:
            what = f"Jobs that run on {name} and that no attempt wants"
            advice = "Nobody will stop them: see them with `ray list jobs`, and stop the cluster."
            yield Finding("I3", "error", f"{what}: {', '.join(strays[:_SHOWN])}", advice)
        if missing:
            what = f"Attempts that say they run on {name}, which does not know them"
            yield Finding("I3", "error", f"{what}: {', '.join(missing[:_SHOWN])}", _LOOK)


def _attempts_of(
    cluster_id: int, *, session: str, there: Mapping[str, bool]
) -> tuple[set[str], list[str]]:
    """The handles that may be at work on a cluster, and those that should be and are not there.

    What changed less than a quarter of an hour ago, the reconciler may still bring in order.
    """
    rows: Any = registry.get_model("jobs", "Attempt")
    of = rows.objects.filter(job__cluster_id=cluster_id)
    long_ago = Q(since__lt=Now() - _SWEPT_WITHIN)
    wanted = of.exclude(Q(state__in=sorted(attempt.TERMINAL)) & long_ago)
    running = of.filter(long_ago, state="running", session=session)
    missing = [one.handle for one in running if one.handle not in there]
    return {one.handle for one in wanted}, sorted(missing)
