"""Keyset paging: every row once, whatever is added meanwhile."""

from __future__ import annotations

import pytest
from people import a_team, a_user

from apps.accounts.models import Team
from apps.http.paging import page
from apps.http.problems import Refused

pytestmark = pytest.mark.django_db


def test_pages_show_every_row_once_newest_first_though_more_are_added():
    owner = a_user()
    every = [a_team(owner=owner).pk for _ in range(7)]
    seen, cursor = [], None
    while True:
        found = page(Team.objects.all(), cursor=cursor, limit=3)
        seen += [row.pk for row in found.items]
        a_team(owner=owner)
        if (cursor := found.next) is None:
            break
    assert seen == sorted(every, reverse=True)


@pytest.mark.parametrize("cursor", ["x", "djE6YQ", "é", "djE6LTE", "A" * 500])
def test_a_cursor_that_no_page_gave_is_refused(cursor):
    with pytest.raises(Refused, match="cursor"):
        page(Team.objects.all(), cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_limit_out_of_range_is_refused(limit):
    with pytest.raises(Refused, match="limit"):
        page(Team.objects.all(), limit=limit)
