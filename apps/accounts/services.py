"""Writes about people: teams, members, tokens, links, and the audit record."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from itertools import chain, count
from typing import Any

from django.contrib.auth import authenticate, password_validation
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts import selectors
from apps.accounts.models import (
    TOKEN_NAME_CHARS,
    ApiToken,
    AuditEvent,
    Membership,
    OneTimeLink,
    SignInTrouble,
    Team,
    User,
)
from apps.accounts.scopes import Role, Scope
from apps.http import limits, request_id
from apps.http.problems import Refused
from regatta.rayjobs.names import is_readable

LINK_LIVES = timedelta(minutes=30)
INVITATION_LIVES = timedelta(days=3)
TOKEN_DAYS, TOKEN_DAYS_MOST = 90, 365
_FREE_TRIES, _LONGEST_PAUSE_S = 5, 300
_HASHING = limits.Room(working=2, waiting=2)  # half a second of a core each, that is its point


def audit(*, team: Team | None, actor: str, action: str, subject: str = "", **detail: Any) -> None:
    """Record that `actor` did `action` to `subject`, in the caller's transaction."""
    AuditEvent.objects.create(
        team=team,
        actor=actor,
        action=action,
        subject=subject,
        detail=detail,
        request_id=request_id.current.get(),
    )


@transaction.atomic
def create_team(*, slug: str, name: str, owner: User, actor: str) -> Team:
    """A new team with its first owner.

    Raises: ValidationError for a slug that is taken or not one.
    """
    team = Team(slug=slug, name=name)
    team.full_clean()
    team.save()
    Membership.objects.create(user=owner, team=team, role=Role.OWNER)
    audit(team=team, actor=actor, action="team.create", subject=team.slug)
    return team


@transaction.atomic
def create_token(
    *,
    user: User,
    team: Team,
    name: str,
    scopes: Iterable[str],
    held: Collection[str] | None = None,
    days: int = TOKEN_DAYS,
    actor: str,
) -> tuple[ApiToken, str]:
    """A token for `user` in `team`, and its secret, which is shown now and never again.

    held: what the asker may do, whose token may do no more; all that the user may if None.
    Raises: Refused for scopes that are not held, for a life out of 1..365 days, for a name that
    cannot be read, or where a token would make one that outlives it.
    """
    wanted = set(scopes)
    held = selectors.scopes_in(user, team) if held is None else held
    if not wanted or not wanted <= set(held):
        raise Refused(
            "bad_scopes",
            _("Choose at least one scope, of those you hold: %(held)s.")
            % {"held": ", ".join(sorted(held))},
            pointer="/scopes",
        )
    if not 1 <= days <= TOKEN_DAYS_MOST:
        raise Refused(
            "bad_days",
            _("A token lives from 1 to %(most)d days.") % {"most": TOKEN_DAYS_MOST},
            pointer="/days",
        )
    expires_at = timezone.now() + timedelta(days=days)
    _refuse_to_outlive(actor, expires_at)
    if not is_readable(name):
        raise Refused(
            "bad_name",
            _("A name has from 1 to %(most)d characters that can be seen, in one line.")
            % {"most": TOKEN_NAME_CHARS},
            pointer="/name",
        )
    limits.spend("new_token", f"user:{user.pk}")
    prefix = secrets.token_hex(4)
    secret = f"rgt_{prefix}_{secrets.token_urlsafe(32)}"
    token = ApiToken(
        user=user,
        team=team,
        name=name.strip(),
        prefix=prefix,
        sha256=selectors.digest(secret),
        scopes=sorted(wanted),
        expires_at=expires_at,
    )
    token.full_clean(exclude=["user", "team"])
    token.save()
    audit(team=team, actor=actor, action="token.create", subject=prefix, scopes=sorted(wanted))
    return token, secret


@transaction.atomic
def revoke_token(token: ApiToken, *, actor: str) -> None:
    """End a token at once; a second time changes nothing."""
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=Now()):
        audit(team=token.team, actor=actor, action="token.revoke", subject=token.prefix)


@transaction.atomic
def end_tokens(user: User, team: Team, *, actor: str) -> None:
    """End all tokens of who leaves a team, or they would work again if that person came back."""
    for token in selectors.tokens(team, user=user):
        revoke_token(token, actor=actor)


@transaction.atomic
def one_time_link(user: User, *, lives: timedelta = LINK_LIVES) -> str:
    """The code of a fresh link that signs `user` in once; earlier unused ones end."""
    OneTimeLink.objects.filter(user=user, used_at=None).update(used_at=Now())
    code = secrets.token_urlsafe(32)
    OneTimeLink.objects.create(
        sha256=selectors.digest(code), user=user, expires_at=timezone.now() + lives
    )
    return code


@transaction.atomic
def use_link(code: str, *, password: str = "") -> User:
    """Sign the link's user in, once, and set a password if one was chosen.

    Raises: Refused when the link is used up or expired; ValidationError for a weak password.
    """
    link = selectors.open_link(code)
    if link is None or not link.user.is_active:
        raise Refused("bad_link", _("This link is used up or expired; ask for a new one."))
    if password:
        password_validation.validate_password(password, link.user)
        link.user.set_password(password)
        link.user.save(update_fields=["password"])
    if not OneTimeLink.objects.filter(pk=link.pk, used_at=None).update(used_at=Now()):
        raise Refused("bad_link", _("This link is used up or expired; ask for a new one."))
    audit(team=None, actor=f"user:{link.user.username}", action="sign_in.link")
    return link.user


def sign_in(request: HttpRequest, *, username: str, password: str) -> User:
    """The user of a right name and password.

    After five failures in a row of one name from one address each further try waits longer.
    The answer is the same for a wrong name and a wrong password.
    Raises: Refused.
    """
    key = selectors.digest(f"{username.lower()}|{request.META.get('REMOTE_ADDR', '')}")
    trouble = SignInTrouble.objects.filter(key=key).first()
    if trouble is not None and trouble.until > timezone.now():
        wait_s = max(1, round((trouble.until - timezone.now()).total_seconds()))
        raise Refused(
            "slow_down",
            _("Too many failed tries; wait %(wait_s)d seconds.") % {"wait_s": wait_s},
            status=429,
            retry_after_s=wait_s,
        )
    with _HASHING.enter():
        user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        _note_failure(key)
        audit(team=None, actor="anonymous", action="sign_in.failed", subject=username[:120])
        raise Refused("bad_sign_in", _("The name or the password is wrong."), status=401)
    SignInTrouble.objects.filter(key=key).delete()
    audit(team=None, actor=f"user:{user.username}", action="sign_in")
    return user


@transaction.atomic
def invite(*, team: Team, username: str, role: str, actor: str) -> tuple[User, str]:
    """Add a person to a team; for a new one also the code of a link that lets them in.

    A link lets in to every team of its user: while one team's owner holds somebody's first, no
    other team adds them.
    Raises: ValidationError for a name that is none; Refused for a role that is none, for a
    person who is in the team already, or has yet to come by the link of another.
    """
    if role not in Role.values:
        raise Refused("bad_role", _("There is no such role."), pointer="/role")
    user = User.objects.select_for_update(no_key=True).filter(username=username).first()
    fresh = user is None or selectors.was_never_in(user)
    if user is None:
        user = User(username=username)
        user.set_unusable_password()
        user.full_clean(exclude=["password"])
        user.save()
    if Membership.objects.filter(team=team, user=user).exists():
        raise Refused(
            "already_member",
            _("%(name)s is in this team already.") % {"name": username},
            status=409,
            pointer="/username",
        )
    if not fresh and selectors.is_awaited(user):
        raise Refused(
            "not_signed_in_yet",
            _("%(name)s was invited elsewhere and has not signed in yet; add them once they have.")
            % {"name": username},
            status=409,
            pointer="/username",
        )
    Membership.objects.create(team=team, user=user, role=role)
    audit(team=team, actor=actor, action="member.add", subject=username, role=role)
    return user, one_time_link(user, lives=INVITATION_LIVES) if fresh else ""


@transaction.atomic
def change_role(membership: Membership, *, role: str | None, actor: str) -> None:
    """Give a member another role, or (None) take them out of the team.

    Raises: Refused for a role that is none, or when the team would be left without an owner.
    """
    if role is not None and role not in Role.values:
        raise Refused("bad_role", _("There is no such role."), pointer="/role")
    team = Team.objects.select_for_update().get(pk=membership.team_id)
    others = Membership.objects.filter(team=team, role=Role.OWNER).exclude(pk=membership.pk)
    if role != Role.OWNER and membership.role == Role.OWNER and not others.exists():
        raise Refused("last_owner", _("A team keeps at least one owner."), status=409)
    who = membership.user.username
    if role is None:
        membership.delete()
        audit(team=team, actor=actor, action="member.remove", subject=who)
        end_tokens(membership.user, team, actor=actor)
    else:
        Membership.objects.filter(pk=membership.pk).update(role=role)
        audit(team=team, actor=actor, action="member.role", subject=who, role=role)


@transaction.atomic
def first_start(*, username: str = "admin", slug: str = "demo", name: str = "Demo") -> User:
    """The platform admin and the first team of a new portal; made once, then found again."""
    user = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if user is None:
        # Whoever has that name already is not made admin for it.
        user = User(username=_free_name(username), is_superuser=True, is_staff=True)
        user.set_unusable_password()  # no default password: a one-time link lets in
        user.save()
    if not Team.objects.exists():
        create_team(slug=slug, name=name, owner=user, actor="system")
    return user


def _refuse_to_outlive(actor: str, expires_at: datetime) -> None:
    maker = selectors.token_of(actor)
    if maker is None or expires_at <= maker.expires_at:
        return
    raise Refused(
        "outlives_its_maker",
        _("This token ends on %(at)s UTC; one that it makes ends no later: %(days)d days at most.")
        % {
            "at": f"{maker.expires_at:%Y-%m-%d %H:%M}",
            "days": (maker.expires_at - timezone.now()).days,
        },
        pointer="/days",
    )


def _free_name(wanted: str) -> str:
    names = chain([wanted], (f"{wanted}{number}" for number in count(2)))
    return next(name for name in names if not User.objects.filter(username=name).exists())


def all_scopes() -> list[str]:
    """Every scope, for a token that may do whatever its user may."""
    return [scope.value for scope in Scope]


def _note_failure(key: str) -> None:
    trouble, _made = SignInTrouble.objects.get_or_create(key=key, defaults={"until": Now()})
    SignInTrouble.objects.filter(pk=trouble.pk).update(count=F("count") + 1)
    extra = trouble.count + 1 - _FREE_TRIES
    if extra >= 0:
        pause = timedelta(seconds=min(2.0**extra, _LONGEST_PAUSE_S))
        SignInTrouble.objects.filter(pk=trouble.pk).update(until=Now() + pause)
