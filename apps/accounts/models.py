"""Users, their teams, the tokens they hold, and the record of what they did."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from apps.accounts.scopes import Role

TOKEN_NAME_CHARS = 80


class User(AbstractUser):
    """A person; `is_superuser` makes a platform admin."""

    full_name = models.CharField(_("full name"), max_length=120, blank=True)
    first_name = last_name = None  # type: ignore[assignment]  # names do not split that way

    def __str__(self) -> str:
        return self.full_name or self.username

    def get_full_name(self) -> str:
        return str(self)

    def get_short_name(self) -> str:
        return str(self)


class Team(models.Model):
    """Who shares clusters, jobs and a bill."""

    slug = models.CharField(
        max_length=40,
        unique=True,
        validators=[
            RegexValidator(
                r"^[a-z0-9][a-z0-9-]*$", _("Use small letters, figures and hyphens only.")
            )
        ],
    )
    name = models.CharField(max_length=80)
    created_at = models.DateTimeField(db_default=Now())
    members: models.ManyToManyField[Any, Any] = models.ManyToManyField(
        User, through="Membership", related_name="teams"
    )

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """What a user is in a team."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            UniqueConstraint(fields=["user", "team"], name="one_membership_per_team"),
            CheckConstraint(condition=Q(role__in=Role.values), name="role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}: {self.role}"


class ApiToken(models.Model):
    """A user's key for one team, `rgt_<prefix>_<secret>`; only a digest of it is kept.

    A plain digest suffices: the secret has 256 bits (OWASP ASVS 5.0, 6.5.2).
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=TOKEN_NAME_CHARS)
    prefix = models.CharField(max_length=8, unique=True)
    sha256 = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"rgt_{self.prefix}_… ({self.name})"


class OneTimeLink(models.Model):
    """A link that signs one person in once: the first admin, an invited member."""

    sha256 = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="links")
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"link for {self.user}"


class SignInTrouble(models.Model):
    """Failed sign-ins of one name from one address; a growing pause, never a lock-out."""

    key = models.CharField(max_length=64, unique=True)
    count = models.PositiveIntegerField(default=0)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.count} failures until {self.until}"


class AuditEvent(models.Model):
    """What somebody did, or was refused. Written once, never changed."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, related_name="audit")
    actor = models.CharField(max_length=120)
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=120, blank=True)
    detail = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["team", "-id"], name="audit_of_team")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject}"
