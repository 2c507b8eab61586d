"""What may be allowed (scopes), and which of it a role holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Scope(TextChoices):
    """What a token may be allowed; a role is a set of them."""

    CLUSTERS_READ = "clusters:read", _("see clusters")
    CLUSTERS_WRITE = "clusters:write", _("create, resize, stop and delete clusters")
    JOBS_READ = "jobs:read", _("see jobs, their logs and metrics")
    JOBS_WRITE = "jobs:write", _("submit, stop and delete jobs")
    COST_READ = "cost:read", _("see prices and costs")
    COST_WRITE = "cost:write", _("set prices")
    TEAM_READ = "team:read", _("see members and the audit record")
    TEAM_WRITE = "team:write", _("invite and change members")
    TOKENS_WRITE = "tokens:write", _("make and revoke tokens")


class Role(TextChoices):
    """What a person is in a team."""

    OWNER = "owner", _("Owner")
    MEMBER = "member", _("Member")
    VIEWER = "viewer", _("Viewer")
    BILLING = "billing", _("Billing viewer")


# Whoever is in a team manages tokens of their own; a token does so only if it was made for that.
_ANYBODY = frozenset({Scope.TEAM_READ, Scope.COST_READ, Scope.CLUSTERS_READ, Scope.TOKENS_WRITE})
_SEES_JOBS = _ANYBODY | {Scope.JOBS_READ}
SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.OWNER: frozenset(Scope),
    Role.MEMBER: _SEES_JOBS | {Scope.CLUSTERS_WRITE, Scope.JOBS_WRITE},
    Role.VIEWER: _SEES_JOBS,
    Role.BILLING: _ANYBODY,
}
