"""Endpoints about the caller, tokens, members and the audit record."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Router, Status

from apps.accounts import selectors, services
from apps.accounts.access import allow
from apps.accounts.models import ApiToken, Membership
from apps.accounts.request import PortalRequest
from apps.accounts.schemas import (
    AuditPage,
    MemberIn,
    MemberOut,
    MemberPage,
    MeOut,
    NewMemberOut,
    NewTokenOut,
    RoleIn,
    TokenIn,
    TokenPage,
)
from apps.accounts.scopes import Scope
from apps.http.paging import page
from apps.http.problems import PROBLEMS

router = Router(tags=["people"])


@router.get("/me", auth=allow(None), response={200: MeOut, **PROBLEMS})
def me(request: PortalRequest) -> dict[str, Any]:
    """Who this token is, and what it may do."""
    return {
        "user": request.user.username,
        "team": request.team.slug,
        "scopes": sorted(request.scopes),
        "platform_admin": request.user.is_superuser,
    }


@router.get("/tokens", auth=allow(Scope.TEAM_READ), response={200: TokenPage, **PROBLEMS})
def list_tokens(
    request: PortalRequest, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """The caller's own tokens in this team that are not revoked, newest first."""
    mine = selectors.tokens(request.team, user=request.user)
    found = page(mine, cursor=cursor, limit=limit)
    return {"items": [_token(token) for token in found.items], "next": found.next}


@router.post("/tokens", auth=allow(Scope.TOKENS_WRITE), response={201: NewTokenOut, **PROBLEMS})
def create_token(request: PortalRequest, body: TokenIn) -> Status[dict[str, Any]]:
    """A new token; its secret is in this answer alone, and its scopes are among the caller's."""
    token, secret = services.create_token(
        user=request.user,
        team=request.team,
        name=body.name,
        scopes=body.scopes,
        held=request.scopes,
        days=body.days,
        actor=request.actor,
    )
    return Status(201, _token(token) | {"token": secret})


@router.delete(
    "/tokens/{int:pk}", auth=allow(Scope.TOKENS_WRITE), response={204: None, **PROBLEMS}
)
def revoke_token(request: PortalRequest, pk: int) -> Status[None]:
    """End one of the caller's tokens at once."""
    token = get_object_or_404(ApiToken, pk=pk, team=request.team, user=request.user)
    services.revoke_token(token, actor=request.actor)
    return Status(204, None)


@router.get("/members", auth=allow(Scope.TEAM_READ), response={200: MemberPage, **PROBLEMS})
def list_members(
    request: PortalRequest, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Who is in the team, the newest first."""
    found = page(selectors.members(request.team), cursor=cursor, limit=limit)
    return {"items": [_member(row) for row in found.items], "next": found.next}


@router.post("/members", auth=allow(Scope.TEAM_WRITE), response={201: NewMemberOut, **PROBLEMS})
def add_member(request: PortalRequest, body: MemberIn) -> Status[dict[str, Any]]:
    """Add a person; for a new one the answer holds a link that lets them in once."""
    user, code = services.invite(
        team=request.team, username=body.username, role=body.role, actor=request.actor
    )
    row = get_object_or_404(Membership, team=request.team, user=user)
    link = f"{settings.REGATTA_URL}{reverse('accounts:link', args=[code])}" if code else ""
    return Status(201, _member(row) | {"link": link})


@router.put(
    "/members/{int:pk}", auth=allow(Scope.TEAM_WRITE), response={200: MemberOut, **PROBLEMS}
)
def change_member(request: PortalRequest, pk: int, body: RoleIn) -> dict[str, Any]:
    """Give a member another role."""
    row = get_object_or_404(selectors.members(request.team), pk=pk)
    services.change_role(row, role=body.role, actor=request.actor)
    return _member(get_object_or_404(selectors.members(request.team), pk=pk))


@router.delete("/members/{int:pk}", auth=allow(Scope.TEAM_WRITE), response={204: None, **PROBLEMS})
def remove_member(request: PortalRequest, pk: int) -> Status[None]:
    """Take a member out of the team; their tokens end with it."""
    row = get_object_or_404(selectors.members(request.team), pk=pk)
    services.change_role(row, role=None, actor=request.actor)
    return Status(204, None)


@router.get("/audit", auth=allow(Scope.TEAM_READ), response={200: AuditPage, **PROBLEMS})
def audit_record(
    request: PortalRequest, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """What happened in the team, newest first."""
    found = page(selectors.audit_record(request.team), cursor=cursor, limit=limit)
    return {"items": list(found.items), "next": found.next}


def _token(token: ApiToken) -> dict[str, Any]:
    names = ["id", "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at"]
    return {name: getattr(token, name) for name in names} | {"user": token.user.username}


def _member(row: Membership) -> dict[str, Any]:
    return {"id": row.pk, "username": row.user.username, "name": str(row.user), "role": row.role}
