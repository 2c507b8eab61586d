"""What a team's home counts among the things that need somebody."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from people import a_team, a_token, owner_of

from apps.accounts.models import ApiToken

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("made_for_days", "left_days", "told"),
    [(90, 13, True), (90, 15, False), (90, -1, False), (7, 1, False), (1, 1, False)],
)
def test_a_token_that_ends_soon_is_told_unless_it_was_made_to(
    client, made_for_days, left_days, told
):
    team = a_team("crew")
    a_token(team)
    ends = timezone.now() + timedelta(days=left_days)
    ApiToken.objects.update(expires_at=ends, created_at=ends - timedelta(days=made_for_days))
    client.force_login(owner_of(team))
    assert bool(client.get("/t/crew/").context["seen"].needs) == told
