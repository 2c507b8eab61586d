"""A price is set once, closes the one before, and changes nothing that was charged."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from costs import a_price
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone
from people import a_team, a_token, bearer

from apps.costs import services
from apps.costs.models import PriceInterval
from apps.http.problems import Refused

pytestmark = pytest.mark.django_db


def set_price(usd="2", *, team=None, kind="h200", **fields):
    return services.set_price(
        team=team, kind=kind, usd_per_hour=Decimal(usd), actor="user:t", **fields
    )


def history(kind="h200"):
    rows = PriceInterval.objects.filter(kind=kind).order_by("from_at")
    return [(row.usd_per_hour, row.from_at, row.to_at) for row in rows]


def test_a_new_price_closes_the_one_before_at_the_same_moment():
    first = set_price("2")
    second = set_price("3")
    assert history() == [(2, first.from_at, second.from_at), (3, second.from_at, None)]


def test_a_price_for_later_leaves_todays_until_then():
    today = set_price("2")
    later = timezone.now() + timedelta(days=30)
    set_price("3", from_at=later)
    assert history() == [(2, today.from_at, later), (3, later, None)]


def test_nothing_is_set_before_a_price_that_is_set_for_later():
    set_price("3", from_at=timezone.now() + timedelta(days=30))
    before = history()
    with pytest.raises(Refused, match="already holds from"):
        set_price("2")
    assert history() == before


def test_the_past_that_had_a_price_keeps_it():
    set_price("2", from_at=timezone.now() - timedelta(days=2))
    before = history()
    with pytest.raises(Refused, match="must not begin in the past"):
        set_price("3", from_at=timezone.now() - timedelta(days=1))
    assert history() == before


@pytest.mark.parametrize(
    ("at", "pointer", "code"),
    [
        ("9999-12-31T23:59:59Z", "/from_at", "out_of_range"),
        ("9999-12-31T23:59:59-12:00", "/from_at", "out_of_range"),
        ("0001-01-01T00:00:00+14:00", "/from_at", "out_of_range"),
        ("2026-01-01T00:00:00", "/body/from_at", "timezone_aware"),
    ],
)
def test_a_price_is_not_set_so_far_away_that_no_other_could_follow(client, at, pointer, code):
    team = a_team()
    auth = bearer(a_token(team))
    asked = {"kind": "h200", "usd_per_hour": "2", "from_at": at}
    answer = client.post("/api/v1/prices", asked, content_type="application/json", **auth)
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["pointer"], error["code"]) == (422, pointer, code)
    assert client.get("/api/v1/prices", **auth).status_code == 200
    assert history() == []
    set_price(team=team, from_at=timezone.now() + timedelta(days=4 * 365))
    assert len(history()) == 1


def test_a_past_without_a_price_may_get_one():
    start = timezone.now() - timedelta(days=2)
    set_price("2", from_at=start)
    assert history() == [(2, start, None)]


def test_a_teams_price_does_not_begin_in_a_past_that_everywhere_had_priced():
    set_price("2", from_at=timezone.now() - timedelta(days=2))
    with pytest.raises(Refused, match="must not begin in the past"):
        set_price("1", team=a_team(), from_at=timezone.now() - timedelta(days=1))
    assert len(history()) == 1


def test_prices_of_teams_and_of_everywhere_stand_beside_each_other():
    for team in (None, a_team(), a_team()):
        set_price("2", team=team)
    assert [end for _usd, _from, end in history()] == [None, None, None]


@pytest.mark.parametrize(
    "wrong", [{"usd": "-1"}, {"kind": ""}, {"kind": "x" * 10_000}, {"basis": "guess"}]
)
def test_nonsense_is_refused_and_closes_nothing(wrong):
    set_price("2")
    before = history()
    with pytest.raises(ValidationError):
        set_price(**wrong)
    assert history() == before


def test_the_database_holds_one_open_price_of_a_kind():
    a_price("2")
    with pytest.raises(IntegrityError, match="one_open_price"):
        a_price("3", from_h=1)


@pytest.mark.parametrize(
    ("usd", "written"), [("0.1", "0.10"), ("2", "2.00"), ("20", "20.00"), ("0.123450", "0.12345")]
)
def test_a_price_is_written_like_money(usd, written):
    price = a_price(usd)
    price.refresh_from_db()
    assert price.written == written
