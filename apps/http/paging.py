"""Keyset paging: a page's end is named by the key of its last row, so depth costs nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from apps.http.problems import Refused

MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows, newest first, and the cursor of what follows (None: nothing does)."""

    items: Sequence[Any]
    next: str | None


def page(rows: QuerySet[Any], *, cursor: str | None = None, limit: int = 50) -> Page:
    """Up to `limit` of `rows` by descending id, after `cursor`.

    Raises: Refused for a cursor that no page gave, or a limit out of 1..200.
    """
    if not 1 <= limit <= MOST:
        raise Refused(
            "bad_limit", _("limit must be from 1 to %(most)d") % {"most": MOST}, pointer="/limit"
        )
    if cursor:
        rows = rows.filter(pk__lt=_read(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    more, items = len(found) > limit, found[:limit]
    return Page(items=items, next=_write(_pk(items[-1])) if more else None)


def _pk(row: Any) -> int:
    return int(row["id"] if isinstance(row, dict) else row.pk)


def _write(pk: int) -> str:
    return base64.urlsafe_b64encode(b"v1:%d" % pk).decode().rstrip("=")


def _read(cursor: str) -> int:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        version, number = raw.split(b":")
        if version == b"v1" and number.isdigit() and len(number) < 19:
            return int(number)
    except (ValueError, binascii.Error):
        pass  # told below, as any other wrong cursor
    raise Refused("bad_cursor", _("The cursor is not one of ours."), pointer="/cursor")
