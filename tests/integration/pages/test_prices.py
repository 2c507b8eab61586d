"""The page of prices: what holds and held for all who see costs, a new one for owners."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from clusters import a_cluster
from django.utils import timezone
from people import a_member, a_team, owner_of

from apps.accounts.scopes import Role
from apps.clusters.services import NodeWish
from apps.costs import services
from apps.costs.models import PriceInterval

pytestmark = pytest.mark.django_db
PAGE = "/t/crew/costs/prices/"
ASKED = {"kind": "ssh", "usd_per_hour": "2.5", "basis": "contract", "note": "2026"}


@pytest.fixture
def team():
    return a_team("crew")


@pytest.fixture
def owner(client, team):
    client.force_login(owner_of(team))
    return client


def test_a_new_price_closes_the_one_before(owner, team):
    assert owner.post(PAGE, ASKED).status_code == 302
    assert owner.post(PAGE, {**ASKED, "usd_per_hour": "3"}).status_code == 302
    first, second = PriceInterval.objects.filter(team=team, kind="ssh").order_by("from_at")
    assert (first.usd_per_hour, second.usd_per_hour) == (Decimal("2.5"), Decimal(3))
    assert (first.to_at, second.to_at) == (second.from_at, None)
    assert (second.basis, second.note) == ("contract", "2026")


def test_the_kinds_that_the_team_or_a_provider_has_are_offered(owner, team):
    a_cluster(team, node=NodeWish(chip="P800", chips=8))
    a_cluster(node=NodeWish(chip="H200", chips=8))  # of another team
    words = owner.get(PAGE).content.decode()
    assert '<option value="local">' in words
    assert '<option value="local:P800">' in words
    assert "H200" not in words


@pytest.mark.parametrize(
    ("kind", "rare"), [("local", False), ("local:P800", False), ("cpu", True), ("local:P9", True)]
)
def test_a_price_that_nothing_is_charged_by_says_so(owner, team, kind, rare):
    a_cluster(team, node=NodeWish(chip="P800", chips=8))
    words = owner.post(PAGE, {**ASKED, "kind": kind}, follow=True).content.decode()
    assert (f"No node of this team is or was of the kind {kind}" in words) is rare
    assert PriceInterval.objects.filter(team=team, kind=kind).exists()


def test_a_price_for_later_is_read_as_utc_and_marked(owner, team):
    later = timezone.now() + timedelta(days=2)
    asked = {**ASKED, "from_at": f"{later:%Y-%m-%dT%H:%M}"}
    words = owner.post(PAGE, asked, follow=True).content.decode()
    assert PriceInterval.objects.get(team=team).from_at == later.replace(second=0, microsecond=0)
    assert "planned" in words


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"usd_per_hour": "-1"}, "usd_per_hour"),
        ({"from_at": "2026-01-01T00:00"}, "from_at"),
        ({"from_at": "9999-12-31T00:00"}, "from_at"),
        ({"basis": "sample"}, "basis"),
        ({"kind": ""}, "kind"),
    ],
)
def test_what_is_wrong_is_told_at_its_field_and_nothing_changes(owner, team, wrong, field):
    long_ago = timezone.now() - timedelta(days=1000)
    services.set_price(
        team=team, kind="ssh", usd_per_hour=Decimal(1), from_at=long_ago, actor="ada"
    )
    answer = owner.post(PAGE, {**ASKED, **wrong})
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert PriceInterval.objects.filter(team=team).count() == 1


def test_a_member_sees_prices_and_sets_none(client, team):
    client.force_login(a_member(team, Role.MEMBER))
    words = client.get(PAGE).content.decode()
    assert "sample data" in words
    assert "usd_per_hour" not in words
    assert client.post(PAGE, ASKED).status_code == 403
    assert not PriceInterval.objects.filter(team=team).exists()
