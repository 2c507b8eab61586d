"""What every row with a life shares: its state, its lease, and the record of its moves."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import models, transaction
from django.db.models import ExpressionWrapper, F, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

Moment = datetime | Combinable  # in production always the database's own Now()

TROUBLES_TO_ATTENTION = 5  # failed looks in a row after which a person should look
_BACK_OFF_S, _MOST_S = 1.0, 60.0


class IllegalMove(Exception):
    """The state table does not allow this move; always a bug in the caller."""


class Event(models.Model):
    """One move of one row. Written only by `Stateful.advance`, never changed.

    seq: the generation that the move made, so a subject's events have no gap.
    """

    subject = models.CharField(max_length=80)
    seq = models.PositiveIntegerField()
    old = models.CharField(max_length=20)
    new = models.CharField(max_length=20)
    reason = models.CharField(max_length=80)
    detail = models.JSONField(default=dict, blank=True)
    actor = models.CharField(max_length=80)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subject", "seq"], name="event_seq_once"),
        ]

    def __str__(self) -> str:
        return f"{self.subject}: {self.old} -> {self.new} ({self.reason})"


class StatefulQuerySet(models.QuerySet[Any]):
    """Rows with a turn, which one worker at a time may take."""

    def due(self, now: Moment) -> StatefulQuerySet:
        """Rows whose turn has come and that nobody holds, longest waiting first."""
        free = Q(lease_until=None) | Q(lease_until__lt=now)
        return self.filter(free, next_look_at__lte=now).order_by("next_look_at")

    def claim_due(self, *, now: Moment, lease: timedelta, limit: int) -> list[Any]:
        """Lease up to `limit` rows whose turn has come; other workers skip them."""
        with transaction.atomic():
            locked = self.due(now).select_for_update(skip_locked=True, no_key=True, of=("self",))
            mine = self.model._default_manager.filter(pk__in=[row.pk for row in locked[:limit]])
            mine.update(lease_token=uuid.uuid4(), lease_until=now + lease)
            return list(mine.order_by("next_look_at"))


class Stateful(models.Model):
    """A row whose `state` moves only by `advance`; its manager comes of a StatefulQuerySet."""

    MOVES: ClassVar[Mapping[Any, frozenset[Any]]]

    state = models.CharField(max_length=20)
    reason = models.CharField(max_length=80, blank=True)
    since = models.DateTimeField(default=timezone.now)
    generation = models.PositiveIntegerField(default=0)
    next_look_at = models.DateTimeField(default=timezone.now, null=True, blank=True, db_index=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)
    troubles = models.PositiveIntegerField(default=0)  # failed looks in a row
    trouble = models.CharField(max_length=500, blank=True)
    unknown_since = models.DateTimeField(null=True, blank=True)  # when sight was lost

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.subject

    @property
    def subject(self) -> str:
        """The name under which events, meters, series and announcements know this row."""
        return f"{self._meta.label_lower}:{self.pk}"

    @property
    def needs_attention(self) -> bool:
        """Whether looking failed so often in a row that a person should see to it."""
        return self.troubles >= TROUBLES_TO_ATTENTION

    def advance(
        self,
        to: str,
        *,
        reason: str,
        actor: str = "system",
        detail: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> bool:
        """Move to `to` if nobody moved the row since it was read, and record the move.

        fields: columns written together with the move.
        Gives the lease back. Returns False when another worker was first: drop your result, the
        next pass sees the new state.
        Raises: IllegalMove when the table does not allow the move.
        """
        if to not in self.MOVES[self.state]:
            raise IllegalMove(f"{self}: {self.state} -> {to} ({reason})")
        values = dict(fields, state=str(to), reason=reason, since=Now())
        values |= {"lease_until": None, "lease_token": None, **_SEEN}
        with transaction.atomic():
            unmoved = self._me().filter(state=self.state, generation=self.generation)
            if not unmoved.update(**values, generation=F("generation") + 1):
                return False
            Event.objects.create(
                subject=self.subject,
                seq=self.generation + 1,
                old=self.state,
                new=str(to),
                reason=reason,
                detail=dict(detail or {}),
                actor=actor,
            )
        self.refresh_from_db()
        return True

    def release(self, *, next_look_at: Moment | None) -> None:
        """Give the lease back after a good look without a move, if it is still ours.

        A turn that somebody asked for meanwhile is kept.
        """
        self._give_back(next_look_at, **_SEEN)

    def note_trouble(self, error: BaseException, *, now: Moment) -> None:
        """Put the row off after a look that failed, longer each time; its state stays."""
        wait_s = min(_BACK_OFF_S * 2 ** min(self.troubles, 10), _MOST_S)
        self._give_back(
            now + timedelta(seconds=wait_s),
            troubles=F("troubles") + 1,
            trouble=f"{type(error).__name__}: {error}"[:500],
            unknown_since=Coalesce("unknown_since", Now()),
        )

    def _give_back(self, next_look_at: Moment | None, **fields: Any) -> None:
        mine = self._me().filter(lease_token=self.lease_token)
        mine.filter(next_look_at=self.next_look_at).update(next_look_at=next_look_at)
        mine.update(lease_until=None, lease_token=None, **fields)

    def _me(self) -> models.QuerySet[Any]:
        return type(self)._default_manager.filter(pk=self.pk)


_SEEN: Mapping[str, Any] = {"troubles": 0, "trouble": "", "unknown_since": None}


class Heartbeat(models.Model):
    """When a long-lived process last showed that it goes round, by the database's clock."""

    name = models.CharField(max_length=60, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at}"

    @classmethod
    def beat(cls, name: str) -> None:
        """Note that `name` is alive now."""
        cls.objects.update_or_create(name=name, defaults={"at": Now()})

    @classmethod
    def ages_s(cls) -> dict[str, float]:
        """Seconds since each name's last beat."""
        rows = cls.objects.annotate(age=ExpressionWrapper(Now() - F("at"), models.DurationField()))
        return {row.name: row.age.total_seconds() for row in rows}
