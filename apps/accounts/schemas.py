"""Shapes of the API about people."""

from __future__ import annotations

from datetime import datetime

from ninja import Schema
from pydantic import Field

from apps.accounts.services import TOKEN_DAYS
from apps.http.schemas import In


class MeOut(Schema):
    user: str
    team: str
    scopes: list[str]
    platform_admin: bool


class TokenIn(In):
    name: str = Field(min_length=1, max_length=80)
    scopes: list[str]
    days: int = TOKEN_DAYS


class TokenOut(Schema):
    id: int
    name: str
    prefix: str
    user: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class TokenPage(Schema):
    items: list[TokenOut]
    next: str | None


class NewTokenOut(TokenOut):
    token: str


class MemberIn(In):
    username: str = Field(min_length=1, max_length=150)
    role: str


class RoleIn(In):
    role: str


class MemberOut(Schema):
    id: int
    username: str
    name: str
    role: str


class MemberPage(Schema):
    items: list[MemberOut]
    next: str | None


class NewMemberOut(MemberOut):
    link: str


class AuditOut(Schema):
    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, object]
    request_id: str


class AuditPage(Schema):
    items: list[AuditOut]
    next: str | None
