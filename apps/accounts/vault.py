"""Secrets at rest: sealed by keys that stand in a file beside the data, never in the database."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from regatta.embedded.keys import kept_secret


class Unreadable(Exception):
    """A sealed value that none of the present keys opens."""


def seal(plain: str) -> str:
    """`plain`, sealed by the newest key."""
    return _keys(settings.REGATTA_HOME / "vault_keys").encrypt(plain.encode()).decode()


def open_(sealed: str) -> str:
    """What was sealed.

    Raises: Unreadable, when the key it was sealed by is gone from the file.
    """
    try:
        return _keys(settings.REGATTA_HOME / "vault_keys").decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unreadable(
            "No key in vault_keys opens this; restore the file it was sealed with"
        ) from error


@cache
def _keys(path: Path) -> MultiFernet:
    """The keys of the file, a line each, the newest first: add one on top to rotate."""
    lines = kept_secret(path, lambda: Fernet.generate_key().decode()).splitlines()
    return MultiFernet([Fernet(line.strip()) for line in lines if line.strip()])
