"""The cost of owning: the worked case, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regatta.costs.tco import (
    Ownership,
    break_even_busy,
    tco,
    usd_per_million_tokens,
    useful_hour_usd,
)

WORKED = Ownership(
    chip_usd=35_000,
    chip_w=700,
    server_factor=1,
    load=1,
    space_usd_per_month=3_000,
    support_share=0,
)


def test_the_worked_case_to_the_tenth_of_a_cent():
    found = tco(8, WORKED)
    assert found.amortisation_usd_per_hour == pytest.approx(11.187, abs=5e-4)
    assert found.power_usd_per_hour == pytest.approx(0.941, abs=5e-4)
    assert found.opex_usd_per_hour == pytest.approx(4.110, abs=5e-4)
    assert found.usd_per_chip_hour == pytest.approx(2.0297, abs=5e-5)


@pytest.mark.parametrize(("busy", "usd"), [(0.6, 3.38), (0.3, 6.77), (0.1, 20.30), (0.05, 40.59)])
def test_an_hour_of_work_costs_more_the_fewer_there_are(busy, usd):
    assert useful_hour_usd(2.0297, busy) == pytest.approx(usd, abs=0.006)


def test_owning_pays_from_the_share_of_hours_at_which_both_cost_the_same():
    share = break_even_busy(2.0297, 3.0)
    assert useful_hour_usd(2.0297, share) == pytest.approx(3.0)
    with pytest.raises(ValueError, match=r"^rent: a price above 0"):
        break_even_busy(2.0, 0.0)


@given(chips=st.integers(1, 10_000), years=st.floats(1, 8), capital=st.floats(0, 0.2))
def test_parts_sum_to_the_whole_and_interest_is_never_free(chips, years, capital):
    terms = Ownership(chip_usd=30_000, chip_w=700, years=years, capital_share=capital)
    found = tco(chips, terms)
    parts = found.amortisation_usd_per_hour + found.power_usd_per_hour + found.opex_usd_per_hour
    assert found.usd_per_hour == pytest.approx(parts + found.capital_usd_per_hour)
    assert found.usd_per_chip_hour == pytest.approx(tco(1, terms).usd_per_chip_hour)


@pytest.mark.parametrize("field", ["chip_usd", "years", "pue", "load", "kwh_usd"])
def test_a_negative_figure_is_named(field):
    with pytest.raises(ValueError, match=rf"^{field}: a number from 0 up"):
        Ownership(**{"chip_usd": 1.0, "chip_w": 1.0, field: -1.0})


def test_nothing_is_written_off_in_no_time_and_no_chips_cost_nothing():
    with pytest.raises(ValueError, match=r"^years: "):
        Ownership(chip_usd=1, chip_w=1, years=0)
    with pytest.raises(ValueError, match=r"^chips: at least 1"):
        tco(0, WORKED)
    with pytest.raises(ValueError, match=r"^busy: a share"):
        useful_hour_usd(2.0, 0.0)


@pytest.mark.parametrize(
    ("usd_per_hour", "tokens_per_s", "busy", "usd"),
    [(2.5, 9_500, 1.0, 0.0731), (2.5, 2_500, 1.0, 0.278), (2.5, 2_500, 0.2, 1.389)],
)
def test_a_million_tokens_cost_by_rate_and_by_how_busy_the_chips_are(
    usd_per_hour, tokens_per_s, busy, usd
):
    found = usd_per_million_tokens(usd_per_hour, tokens_per_s, busy)
    assert found == pytest.approx(usd, rel=0.002)
