"""Costs are exact, conserve what they split, and say where they do not know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regatta.costs.ledger import Books, Cost, Gap, Use, cost_of, divide, hourly_usd, total
from regatta.costs.prices import PriceInterval, kinds_to_try, overlay

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def after(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def a_price(usd: str, from_h: float, to_h: float | None = None, kind: str = "node"):
    end = None if to_h is None else after(to_h)
    return PriceInterval(kind=kind, from_at=after(from_h), to_at=end, usd_per_hour=Decimal(usd))


moments = st.integers(0, 10**12).map(lambda us: NOON + timedelta(microseconds=us))
amounts = st.decimals(0, 1000, places=6)


@st.composite
def price_lists(draw):
    """Up to five intervals in order of time, gaps between them, the last one perhaps open."""
    ends = sorted(draw(st.lists(moments, unique=True, max_size=10)))
    spans = [*zip(ends[::2], ends[1::2], strict=False)]
    if len(ends) % 2:
        spans.append((ends[-1], None))
    return [
        PriceInterval(kind="node", from_at=begin, to_at=end, usd_per_hour=draw(amounts))
        for begin, end in spans
    ]


def a_use(start, end, quantity=Decimal(1)):
    return Use(kind="node", start=start, end=end, quantity=quantity)


def cost(prices, start, end, quantity=Decimal(1)):
    return cost_of(a_use(start, end, quantity), prices)


@pytest.mark.parametrize(
    ("prices", "hours", "quantity", "usd"),
    [
        ([a_price("2.50", 0)], 1, "1", "2.50"),
        ([a_price("2.50", 0)], 0, "1", "0"),
        ([a_price("2.50", 0)], 3, "1.5", "11.25"),
        ([a_price("2.50", 0)], 3, "0", "0"),
        ([a_price("2", 0, 1), a_price("3", 1)], 2, "2", "10"),
        ([a_price("2", -5, 0.5), a_price("4", 0.5, 1), a_price("0", 1)], 5, "1", "3"),
        ([a_price("36", 0)], 0.1 / 3600, "1", "0.001"),
    ],
)
def test_worked_cases(prices, hours, quantity, usd):
    assert cost(prices, NOON, after(hours), Decimal(quantity)).usd == Decimal(usd)


def test_a_price_change_in_the_middle_of_a_second_is_exact():
    change = NOON + timedelta(microseconds=333_333)
    prices = [
        PriceInterval(kind="node", from_at=NOON, to_at=change, usd_per_hour=Decimal(1)),
        PriceInterval(kind="node", from_at=change, to_at=None, usd_per_hour=Decimal(7)),
    ]
    spent = cost(prices, NOON, NOON + timedelta(seconds=1)).amount
    assert spent == Fraction(333_333 + 7 * 666_667, 3_600_000_000)


def test_without_a_price_the_cost_is_unknown_and_never_nothing():
    spent = cost([], NOON, after(1))
    assert spent.usd is None
    assert spent.gaps == (Gap(kind="node", from_at=NOON, to_at=after(1)),)


def test_each_gap_is_named_and_what_is_known_is_still_summed():
    spent = cost([a_price("2", 1, 2), a_price("3", 4, 5)], NOON, after(6))
    assert [(gap.from_at, gap.to_at) for gap in spent.gaps] == [
        (NOON, after(1)),
        (after(2), after(4)),
        (after(5), after(6)),
    ]
    assert (spent.usd, spent.known_usd) == (None, Decimal(5))


def test_nothing_used_costs_nothing_even_without_a_price():
    assert cost([], NOON, NOON).usd == 0
    assert cost([], NOON, after(1), Decimal(0)).usd == 0


@given(price_lists(), moments, moments, moments, amounts)
def test_splitting_a_span_never_changes_the_sum(prices, one, two, three, quantity):
    start, middle, end = sorted([one, two, three])
    halves = [cost(prices, start, middle, quantity), cost(prices, middle, end, quantity)]
    whole = cost(prices, start, end, quantity)
    assert total(halves).amount == whole.amount
    assert total(halves).usd == whole.usd


@given(price_lists(), moments, moments, amounts, amounts)
def test_splitting_a_quantity_never_changes_the_sum(prices, one, two, some, more):
    start, end = sorted([one, two])
    parts = [cost(prices, start, end, some), cost(prices, start, end, more)]
    assert total(parts).amount == cost(prices, start, end, some + more).amount


@given(price_lists(), moments, moments, moments, amounts)
def test_costs_are_never_negative_and_never_fall_as_time_goes_on(
    prices, one, two, three, quantity
):
    start, sooner, later = sorted([one, two, three])
    short, long = (cost(prices, start, end, quantity).amount for end in (sooner, later))
    assert short >= 0
    assert long >= short


@given(price_lists(), moments, moments)
def test_priced_time_and_gaps_make_up_the_whole_span(prices, one, two):
    start, end = sorted([one, two])
    unit = [
        PriceInterval(kind="node", from_at=p.from_at, to_at=p.to_at, usd_per_hour=Decimal(3600))
        for p in prices
    ]
    spent = cost(unit, start, end)
    gaps = sum(((gap.to_at - gap.from_at) for gap in spent.gaps), start=timedelta())
    assert spent.amount * 1_000_000 + gaps // timedelta(microseconds=1) == (
        end - start
    ) // timedelta(microseconds=1)


@given(price_lists(), price_lists(), moments)
def test_the_upper_layer_wins_where_it_knows_a_price(upper, lower, at):
    expected = hourly_usd(upper, at=at)
    if expected is None:
        expected = hourly_usd(lower, at=at)
    assert hourly_usd(overlay([upper, lower]), at=at) == expected


def test_two_prices_at_one_moment_are_refused():
    with pytest.raises(ValueError, match="two prices of node hold at 2026-03-01 13:00"):
        overlay([[a_price("1", 0), a_price("2", 1)]])


@pytest.mark.parametrize("usd", ["-0.01", "NaN", "Infinity"])
def test_a_price_below_nothing_or_unknowable_is_refused(usd):
    with pytest.raises(ValueError, match="a number from 0 up"):
        a_price(usd, 0)


def test_a_price_without_length_is_refused():
    with pytest.raises(ValueError, match="before it begins"):
        a_price("1", 1, 1)


def test_times_without_a_zone_are_refused():
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(ValueError, match="times with a zone"):
        PriceInterval(kind="node", from_at=naive, to_at=None, usd_per_hour=Decimal(1))


def test_a_span_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="before it begins"):
        a_use(after(1), NOON)


@pytest.mark.parametrize("quantity", ["-1", "NaN"])
def test_an_impossible_quantity_is_refused(quantity):
    with pytest.raises(ValueError, match="a number from 0 up"):
        a_use(NOON, after(1), Decimal(quantity))


def test_a_simulated_chip_is_priced_as_what_it_stands_in():
    assert kinds_to_try("local:Kunlun-P800") == ("local:Kunlun-P800", "local")
    assert kinds_to_try("local") == ("local",)


def test_what_no_job_used_is_idle():
    cluster, job = Cost(amount=Fraction(10)), Cost(amount=Fraction(3))
    assert Books(total=cluster, jobs=job).idle_usd == Decimal(7)


def shares(nodes, claims, prices):
    return [cost.usd for cost in divide(nodes, claims, {"node": prices})]


def test_a_claim_that_the_nodes_can_bear_costs_what_it_says():
    nodes = [a_use(NOON, after(4)), a_use(NOON, after(4))]
    prices = [a_price("2", 0, 1), a_price("3", 1)]
    assert shares(nodes, [a_use(NOON, after(2), Decimal("1.5"))], prices) == [Decimal("7.5")]


def test_after_the_loss_of_a_node_a_claim_costs_what_is_left_and_after_all_of_them_nothing():
    nodes = [a_use(NOON, after(3)), a_use(NOON, after(1))]
    assert shares(nodes, [a_use(NOON, after(9), Decimal(2))], [a_price("2", 0)]) == [Decimal(8)]


def test_claims_beyond_the_nodes_are_granted_the_same_part_each():
    nodes = [a_use(NOON, after(1))]
    claims = [a_use(NOON, after(1), Decimal(q)) for q in ("1.5", "0.5")]
    assert shares(nodes, claims, [a_price("4", 0)]) == [Decimal(3), Decimal(1)]


def test_a_claim_on_no_node_costs_nothing_even_without_a_price():
    assert shares([], [a_use(NOON, after(1))], []) == [Decimal(0)]


def test_a_claim_names_the_time_for_which_its_nodes_have_no_price():
    [late] = divide([a_use(NOON, after(3))], [a_use(after(1), after(9))], {"node": []})
    assert late.gaps == (Gap(kind="node", from_at=after(1), to_at=after(3)),)


spans = st.tuples(moments, moments).map(sorted)
many_uses = st.lists(st.builds(lambda s, q: a_use(*s, q), spans, amounts), max_size=6)
many_nodes = st.lists(spans.map(lambda span: a_use(*span)), max_size=6)


@given(price_lists(), spans, st.decimals(0, 1, places=6))
def test_a_claim_on_part_of_a_node_costs_as_that_part_used_alone(prices, span, quantity):
    claim = a_use(*span, quantity)
    [cost] = divide([a_use(*span)], [claim], {"node": prices})
    alone = cost_of(claim, prices)
    assert (cost.amount, cost.usd is None) == (alone.amount, alone.usd is None)


@given(many_nodes, many_uses, price_lists(), spans)
def test_claims_never_cost_more_than_the_nodes_in_any_window(nodes, claims, prices, window):
    inside, asked = ([use.within(*window) for use in uses] for uses in (nodes, claims))
    spent = total(divide(inside, asked, {"node": prices})).amount
    assert 0 <= spent <= total(cost_of(node, prices) for node in inside).amount


@given(many_nodes, many_uses, price_lists(), spans, moments)
def test_a_window_cut_in_two_charges_each_claim_the_same(nodes, claims, prices, window, cut):
    start, end = window
    middle = min(max(cut, start), end)

    def charged(*part):
        inside, asked = ([use.within(*part) for use in uses] for uses in (nodes, claims))
        return [cost.amount for cost in divide(inside, asked, {"node": prices})]

    halves = zip(charged(start, middle), charged(middle, end), strict=True)
    assert [one + other for one, other in halves] == charged(start, end)


def test_idle_is_unknown_while_a_price_is():
    gap = Gap(kind="node", from_at=NOON, to_at=after(1))
    assert Books(total=Cost(gaps=(gap,)), jobs=Cost()).idle_usd is None


def test_only_the_part_inside_the_window_counts():
    window = (NOON, after(10))
    assert a_use(after(-5), after(2)).within(*window) == a_use(NOON, after(2))
    assert a_use(after(9), after(12)).within(*window) == a_use(after(9), after(10))
    for outside in (a_use(after(-2), after(-1)), a_use(after(11), after(12))):
        part = outside.within(*window)
        assert part.start == part.end
