"""Who a caller is, and what may be seen of a team."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from apps.accounts.models import ApiToken, AuditEvent, Membership, OneTimeLink, Team, User
from apps.accounts.scopes import SCOPES, Role, Scope

_TOKEN = re.compile(r"rgt_([A-Za-z0-9]{8})_([A-Za-z0-9_-]{43})")
_USED_EVERY = timedelta(minutes=1)  # how exactly `last_used_at` is kept: not a write a request


@cache
def _names(model: type[User | Team]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


# Written out, since it stands before every request: to put it together takes the ORM 1 ms.
_TEAM = 5 + len(_names(User))  # where the team's columns begin
_OF_USER = [f'"user".{name}' for name in _names(User)]
_OF_TEAM = [f"team.{name}" for name in _names(Team)]
_HOLDER = f"""
    SELECT token.id, token.sha256, token.scopes, token.last_used_at, role,
        {", ".join(_OF_USER + _OF_TEAM)}
    FROM accounts_apitoken AS token
    JOIN accounts_user AS "user" ON "user".id = token.user_id
    JOIN accounts_team AS team ON team.id = token.team_id
    LEFT JOIN accounts_membership USING (user_id, team_id)
    WHERE prefix = %s AND revoked_at IS NULL AND expires_at > statement_timestamp()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody known, in one team."""

    user: User
    team: Team
    scopes: frozenset[Scope]
    actor: str


def digest(secret: str) -> str:
    """What is kept of a token or a link."""
    return hashlib.sha256(secret.encode()).hexdigest()


def caller_of_token(token: str) -> Caller | None:
    """Who holds `token`; None when it is unknown, revoked, expired, or its user left the team.

    The scopes are those of the token which the user's role still has today.
    """
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_HOLDER, [parts[1]])
        found = cursor.fetchone()
    if found is None:
        return None
    pk, sha256, scopes, used_at, role = found[:5]
    user = User.from_db(connection.alias, _names(User), found[5:_TEAM])
    held = _held(user, role)
    if not hmac.compare_digest(sha256, digest(token)) or not user.is_active or not held:
        return None
    _note_use(pk, used_at)
    return Caller(
        user=user,
        team=Team.from_db(connection.alias, _names(Team), found[_TEAM:]),
        scopes=held & {Scope(word) for word in json.loads(scopes) if word in Scope.values},
        actor=f"token:{parts[1]}",
    )


def caller_in_team(user: User, slug: str) -> Caller | None:
    """What a signed-in user is in the team `slug`; None to a stranger."""
    team = Team.objects.filter(slug=slug).first()
    scopes = scopes_in(user, team) if team is not None else frozenset[Scope]()
    if team is None or not scopes:
        return None
    return Caller(user=user, team=team, scopes=scopes, actor=f"user:{user.username}")


def scopes_in(user: User, team: Team) -> frozenset[Scope]:
    """What a user may do in a team; a platform admin may do everything everywhere."""
    membership = Membership.objects.filter(user=user, team=team).first()
    return _held(user, membership.role if membership else None)


def teams_of(user: User) -> QuerySet[Team]:
    """The teams that a user may open."""
    teams = Team.objects.order_by("name")
    return teams if user.is_superuser else teams.filter(memberships__user=user)


def members(team: Team) -> QuerySet[Membership]:
    """A team's members by name."""
    rows = Membership.objects.filter(team=team).select_related("user")
    return rows.order_by("user__username")


def tokens(team: Team, *, user: User | None = None) -> QuerySet[ApiToken]:
    """Tokens of a team that still work, or of one of its users."""
    rows = ApiToken.objects.filter(team=team, revoked_at=None).select_related("user")
    rows = rows if user is None else rows.filter(user=user)
    return rows.order_by("-pk")


def token_of(actor: str) -> ApiToken | None:
    """The token that acted; None where it was a person."""
    kind, _sep, prefix = actor.partition(":")
    return ApiToken.objects.filter(prefix=prefix).first() if kind == "token" else None


def audit_record(team: Team) -> QuerySet[AuditEvent]:
    """What happened in a team, newest first."""
    return AuditEvent.objects.filter(team=team).order_by("-pk")


def user_named(username: str) -> User | None:
    """The active user of a name."""
    return User.objects.filter(username=username, is_active=True).first()


def open_link(code: str) -> OneTimeLink | None:
    """The unused, unexpired link of `code`."""
    rows = OneTimeLink.objects.select_related("user")
    return rows.filter(sha256=digest(code), used_at=None, expires_at__gt=Now()).first()


def was_never_in(user: User) -> bool:
    """Whether an account is as good as new: without password, team, rank or sign-in."""
    return not (
        user.last_login
        or user.has_usable_password()
        or user.is_superuser
        or user.memberships.exists()
    )


def is_awaited(user: User) -> bool:
    """Whether somebody holds a link by which this user would sign in for the first time."""
    rows = OneTimeLink.objects.filter(user=user, used_at=None, expires_at__gt=Now())
    return user.last_login is None and rows.exists()


def nobody_can_sign_in() -> bool:
    """Whether no admin has a password yet: the portal is new."""
    admins = User.objects.filter(is_superuser=True, is_active=True)
    return not any(user.has_usable_password() for user in admins)


def _held(user: User, role: str | None) -> frozenset[Scope]:
    if user.is_superuser:
        return frozenset(Scope)
    return SCOPES[Role(role)] if role else frozenset()


def _note_use(token_id: int, used_at: datetime | None) -> None:
    stale: Any = Q(last_used_at=None) | Q(last_used_at__lt=Now() - _USED_EVERY)
    if used_at is None or timezone.now() - used_at > _USED_EVERY:
        ApiToken.objects.filter(stale, pk=token_id).update(last_used_at=Now())
