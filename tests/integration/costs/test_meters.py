"""Meters run once however often they are started, and are read at the prices of their time."""

from __future__ import annotations

from decimal import Decimal

import pytest
from costs import NOON, a_meter, a_price, after
from people import a_team

from apps.costs import selectors, services
from apps.costs.models import Meter

pytestmark = pytest.mark.django_db
NAME = "jobs.attempt:12"


def spans():
    rows = Meter.objects.filter(name=NAME).order_by("started_at", "kind")
    return [(row.kind, row.quantity, row.started_at, row.stopped_at) for row in rows]


def start(team, quantity="1", *, at=NOON, kind="h200"):
    services.start_meter(NAME, team_id=team.pk, kinds={kind: Decimal(quantity)}, at=at)


def test_a_meter_started_twice_runs_once():
    team = a_team()
    start(team)
    start(team, at=after(1))
    assert spans() == [("h200", 1, NOON, None)]


def test_a_meter_stopped_twice_keeps_its_first_end():
    team = a_team()
    start(team)
    services.stop_meter(NAME, at=after(1))
    services.stop_meter(NAME, at=after(2))
    assert spans() == [("h200", 1, NOON, after(1))]


def test_stopping_what_never_ran_leaves_no_trace():
    services.stop_meter(NAME, at=NOON)
    assert spans() == []
    assert selectors.cost_usd(NAME) == 0


def test_a_stop_dated_before_the_start_ends_the_meter_at_its_start():
    start(a_team())
    services.stop_meter(NAME, at=after(-1))
    assert spans() == [("h200", 1, NOON, NOON)]


def test_an_old_start_that_comes_after_the_stop_changes_nothing():
    team = a_team()
    start(team)
    services.stop_meter(NAME, at=after(2))
    start(team)
    start(team, at=after(1), quantity="8")
    assert spans() == [("h200", 1, NOON, after(2))]


def test_a_changed_share_closes_one_span_and_opens_the_next():
    team = a_team()
    start(team, "1")
    start(team, "1.5", at=after(1))
    start(team, "2", at=after(2), kind="a100")
    assert spans() == [
        ("h200", 1, NOON, after(1)),
        ("h200", Decimal("1.5"), after(1), after(2)),
        ("a100", 2, after(2), None),
    ]


def test_a_share_without_a_last_decimal_is_rounded_down():
    start(a_team(), str(Decimal(2) / Decimal(3)))
    assert spans() == [("h200", Decimal("0.666666"), NOON, None)]


def test_the_cost_follows_the_price_over_its_change():
    team = a_team()
    a_price("2", from_h=-9, to_h=1)
    a_price("3", from_h=1)
    a_meter(NAME, team=team, stop_h=2, kinds={"h200": Decimal("0.5")})
    assert selectors.cost_usd(NAME) == Decimal("2.5")


def test_a_running_meter_costs_up_to_now():
    team = a_team()
    a_price("2", from_h=-9)
    a_meter(NAME, team=team)
    assert selectors.cost_usd(NAME, now=after(3)) == Decimal(6)


def test_a_clock_behind_the_start_costs_nothing_and_breaks_nothing():
    team = a_team()
    a_price("2", from_h=-9)
    a_meter(NAME, team=team)
    assert selectors.cost_usd(NAME, now=after(-1)) == 0


def test_without_a_price_the_cost_is_unknown():
    team = a_team()
    a_price("2", from_h=1)
    a_meter(NAME, team=team, stop_h=2)
    assert selectors.cost_usd(NAME) is None


def test_a_teams_own_price_goes_before_that_of_everywhere_and_is_no_other_teams():
    ours, others = a_team(), a_team()
    a_price("9", from_h=-9)
    a_price("1", from_h=0, to_h=1, team=ours)
    a_meter("ours", team=ours, stop_h=2)
    a_meter("theirs", team=others, stop_h=2)
    assert selectors.costs_usd(["ours", "theirs"]) == {"ours": Decimal(10), "theirs": Decimal(18)}


def test_a_simulated_chip_costs_as_its_node_until_it_has_a_price_of_its_own():
    team = a_team()
    a_price("5", kind="desk", from_h=-9)
    a_price("7", kind="desk:P800", from_h=1)
    a_meter(NAME, team=team, kinds={"desk:P800": Decimal(1)}, stop_h=2)
    assert selectors.cost_usd(NAME) == Decimal(12)


def test_many_costs_take_as_few_queries_as_one(django_assert_num_queries):
    team = a_team()
    a_price("1", from_h=-9)
    names = [f"jobs.attempt:{number}" for number in range(30)]
    for name in names:
        a_meter(name, team=team, stop_h=1)
    with django_assert_num_queries(3):
        assert selectors.costs_usd(names) == dict.fromkeys(names, Decimal(1))


def test_the_price_per_hour_is_unknown_as_soon_as_one_kind_has_none():
    team = a_team()
    a_price("2", from_h=-9)
    kinds = {"h200": Decimal("1.5")}
    assert selectors.hourly_usd(kinds, team_id=team.pk, at=NOON) == Decimal(3)
    assert selectors.hourly_usd(kinds | {"x": Decimal(1)}, team_id=team.pk, at=NOON) is None


def test_a_new_portal_prices_its_own_machine_by_sample_data():
    team = a_team()
    assert selectors.hourly_usd({"local": Decimal(3)}, team_id=team.pk) == Decimal("0.3")
    assert [row.basis for row in selectors.price_rows(team.pk)] == ["sample"]
