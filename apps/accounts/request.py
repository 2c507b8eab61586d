"""The request as pages and endpoints of the portal see it."""

from __future__ import annotations

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from apps.accounts.models import Team, User
from apps.accounts.scopes import Scope


class PortalRequest(HttpRequest):
    """A request whose access has been checked.

    user: who asks. team: the one that the address or the token names. scopes: what the caller
    may do in it. actor: for events and the audit record, `user:alice` or `token:1a2b3c4d`.
    """

    user: User
    team: Team
    scopes: frozenset[Scope]
    actor: str
    htmx: HtmxDetails
