"""Secrets of a team: set and forgotten by name, and never told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts import vault
from apps.accounts.services import audit
from apps.http.problems import Refused
from apps.jobs.models import Secret
from apps.jobs.spec import SECRET_NAME

if TYPE_CHECKING:
    from apps.accounts.models import Team

SECRET_BYTES_MOST = 32 << 10


@transaction.atomic
def set_secret(*, team: Team, name: str, value: str, actor: str) -> bool:
    """Keep a secret under a name, in place of an earlier one; say whether the name is new."""
    if not SECRET_NAME.fullmatch(name):
        raise Refused(
            "bad_secret_name",
            _("A secret's name has up to 80 letters, digits, '_', '-', '.'."),
            pointer="/name",
        )
    if not value or "\0" in value or len(value.encode()) > SECRET_BYTES_MOST:
        raise Refused(
            "bad_secret",
            _("A secret has from 1 byte to 32 KiB, and no zero bytes."),
            pointer="/value",
        )
    _row, new = Secret.objects.update_or_create(
        team=team,
        name=name,
        defaults={"sealed": vault.seal(value), "set_by": actor, "set_at": timezone.now()},
    )
    audit(team=team, actor=actor, action="secret.set", subject=name)
    return new


@transaction.atomic
def delete_secret(secret: Secret, *, actor: str) -> None:
    """Forget a secret; jobs that name it fail to start from now on."""
    secret.delete()
    audit(team=secret.team, actor=actor, action="secret.delete", subject=secret.name)
