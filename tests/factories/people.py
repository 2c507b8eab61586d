"""Builders of users, teams and tokens."""

from __future__ import annotations

from itertools import count

from apps.accounts import services
from apps.accounts.models import Membership, Team, User
from apps.accounts.scopes import Role

_numbers = count(1)


def a_user(username="", **fields):
    return User.objects.create_user(username=username or f"user{next(_numbers)}", **fields)


def a_team(slug="", *, owner=None):
    slug = slug or f"team{next(_numbers)}"
    return services.create_team(slug=slug, name=slug, owner=owner or a_user(), actor="test")


def a_member(team: Team, role=Role.MEMBER):
    user = a_user()
    Membership.objects.create(team=team, user=user, role=role)
    return user


def owner_of(team: Team):
    return team.memberships.get(role=Role.OWNER).user


def a_token(team: Team, *, user=None, scopes=None, days=90):
    """The secret of a new token."""
    user = user or owner_of(team)
    scopes = services.all_scopes() if scopes is None else scopes
    return services.create_token(
        user=user, team=team, name="t", scopes=scopes, days=days, actor="test"
    )[1]


def bearer(secret):
    """Keyword arguments for Django's test client."""
    return {"headers": {"Authorization": f"Bearer {secret}"}}
