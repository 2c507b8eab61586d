"""A team's own chips and figures go before the shipped ones, while they hold, for it alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from chips import a_chip, given
from django.utils import timezone
from people import a_team

from apps.accounts.models import AuditEvent
from apps.advisor import catalogue_selectors as selectors
from apps.advisor import catalogue_services as services
from apps.advisor.models import ChipFigure, TeamChip
from apps.http.problems import Refused
from regatta.hardware.catalogue import REQUIRED, UnknownChip, catalogue

pytestmark = pytest.mark.django_db


def set_figure(team, value=2.0, *, chip="H100-80GB", figure="price_usd_per_hour", **when):
    return services.set_figure(
        team=team, chip=chip, given=given(figure, value), actor="user:t", **when
    )


def undo(team, *, chip="H100-80GB", figure="price_usd_per_hour"):
    services.undo_figure(team=team, chip=chip, figure=figure, actor="user:t")


def price(team, at=None, chip="H100-80GB"):
    return selectors.chips(team, at)[chip].price_usd_per_hour


def test_an_own_price_goes_before_the_shipped_one_for_its_team_alone():
    team, other = a_team(), a_team()
    set_figure(team, 2.0, chip="h100 80gb")
    assert (price(team), price(other)) == (2.0, catalogue()["H100-80GB"].price_usd_per_hour)
    assert selectors.known(team).own == {("H100-80GB", "price_usd_per_hour")}
    figure = selectors.chips(team)["H100-80GB"].figures["price_usd_per_hour"]
    assert (figure.source, figure.quality) == ("contract 7", "published")


def test_a_figure_holds_from_its_date_until_the_next_and_the_past_is_kept():
    team, now = a_team(), timezone.now()
    shipped = price(team)
    set_figure(team, 2.0, from_at=now - timedelta(days=9))
    set_figure(team, 3.0)
    set_figure(team, 4.0, from_at=now + timedelta(days=9))
    days = [-10, -1, 1, 10]
    told = [price(team, timezone.now() + timedelta(days=day)) for day in days]
    assert told == [shipped, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("days", [-1, 0, 3])
def test_a_figure_never_begins_where_another_held_or_before_one_set_for_later(days):
    team, now = a_team(), timezone.now()
    set_figure(team, 2.0, from_at=now - timedelta(days=2))
    set_figure(team, 3.0, from_at=now + timedelta(days=4))
    before = list(ChipFigure.objects.values())
    with pytest.raises(Refused, match="already holds from"):
        set_figure(team, 9.0, from_at=now + timedelta(days=days))
    assert list(ChipFigure.objects.values()) == before


def test_undoing_brings_back_what_was_shipped_and_takes_back_what_was_planned():
    team = a_team()
    set_figure(team, 2.0)
    set_figure(team, 3.0, from_at=timezone.now() + timedelta(days=4))
    undo(team)
    assert price(team) == price(team, timezone.now() + timedelta(days=5)) == 2.0
    undo(team)
    assert price(team) == catalogue()["H100-80GB"].price_usd_per_hour
    assert ChipFigure.objects.get().value == 2.0, "history is kept"
    with pytest.raises(ChipFigure.DoesNotExist):
        undo(team)
    actions = AuditEvent.objects.filter(team=team, subject="H100-80GB").values_list(
        "action", flat=True
    )
    assert sorted(actions) == ["chip.figure.set"] * 2 + ["chip.figure.undo"] * 2


def test_an_own_chip_is_there_for_its_team_alone_until_it_is_removed():
    team, other = a_team(), a_team()
    a_chip(team, "Own-1", bf16_tflops=300.0)
    chip = selectors.chips(team)["Own-1"]
    assert (chip.vendor, chip.peak("bf16"), chip.mtbf_h) == ("Us", 300e12, 8.0)
    assert "Own-1" not in selectors.chips(other)
    with pytest.raises(UnknownChip):
        set_figure(other, chip="Own-1")
    services.remove_chip(team=team, name="Own-1", actor="user:t")
    assert "Own-1" not in selectors.chips(team)
    assert not ChipFigure.objects.filter(to_at=None).exists()
    a_chip(team, "Own-1")
    assert "Own-1" in selectors.chips(team)


def test_a_removed_chip_leaves_nothing_for_later_to_one_of_its_name():
    team, now = a_team(), timezone.now()
    a_chip(team, "Own-1")
    set_figure(team, 9.0, chip="Own-1", figure="memory_gib", from_at=now + timedelta(days=3))
    services.remove_chip(team=team, name="Own-1", actor="user:t")
    assert not ChipFigure.objects.filter(to_at__gt=timezone.now()).exists()
    a_chip(team, "Own-1", memory_gib=7.0)
    for days in (0, 2, 4):
        chip = selectors.chips(team, timezone.now() + timedelta(days=days))["Own-1"]
        assert chip.figures["memory_gib"].value == 7.0


@pytest.mark.parametrize("name", ["H100-80GB", "h100 80gb", "A100", "own_1"])
def test_a_name_that_is_taken_in_any_spelling_is_refused(name):
    team = a_team()
    a_chip(team, "Own-1")
    with pytest.raises(Refused, match="is in the catalogue already"):
        a_chip(team, name)
    assert TeamChip.objects.count() == 1


def test_what_a_chip_cannot_be_without_is_named_and_not_undone():
    team = a_team()
    with pytest.raises(Refused, match="mtbf_h"):
        services.add_chip(
            team=team,
            name="Own-1",
            vendor="Us",
            figures=[given(one, 1.0) for one in REQUIRED if one != "mtbf_h"],
            actor="user:t",
        )
    a_chip(team, "Own-1")
    with pytest.raises(Refused, match="cannot be without mtbf_h"):
        undo(team, chip="Own-1", figure="mtbf_h")
    assert selectors.chips(team)["Own-1"].mtbf_h == 8.0


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("memory_gib", 0.0),
        ("memory_gib", -1.0),
        ("memory_gib", 1e12),
        ("memory_GBps", 1e-7),
        ("memory_gib", float("nan")),
        ("memory_gib", float("inf")),
        ("domain_chips", 1.5),
        ("colour", 1.0),
    ],
)
def test_a_figure_that_nothing_could_be_computed_with_is_refused(figure, value):
    team = a_team()
    with pytest.raises(Refused):
        set_figure(team, value, figure=figure)
    assert not ChipFigure.objects.exists()


def test_all_chips_take_two_queries(django_assert_num_queries):
    team = a_team()
    for figure in ("memory_gib", "bf16_tflops", "mtbf_h"):
        set_figure(team, 9.0, figure=figure)
    with django_assert_num_queries(2):
        assert len(selectors.chips(team)) == len(catalogue())
