"""Who may start next."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regatta.lifecycle.queue import admit, fits, share


def amounts(**named):
    return {name: Decimal(value) for name, value in named.items()}


CAPACITY = amounts(cpus=8, memory_bytes=100, chips=4)
some_cpus = st.integers(0, 8).map(lambda count: amounts(cpus=count))


@pytest.mark.parametrize(
    ("held", "waiting", "admitted"),
    [
        ([], [], 0),
        ([], [2, 2, 2], 3),
        ([], [8], 1),
        ([], [9], 0),
        ([2], [6], 1),
        ([2], [7], 0),
        ([8], [1], 0),
        ([8], [0], 1),
        ([4], [2, 3, 1], 1),  # the last one would fit, and does not overtake
        ([6], [3, 1], 0),
        ([9], [1], 0),  # a cluster made smaller holds more than it has
    ],
)
def test_the_front_of_the_queue_starts_as_far_as_it_fits(held, waiting, admitted):
    named = [[amounts(cpus=count) for count in counts] for counts in (held, waiting)]
    assert admit(capacity=CAPACITY, held=named[0], waiting=named[1]) == admitted


def test_every_kind_of_resource_must_suffice():
    assert fits(amounts(cpus=8, chips=4), CAPACITY)
    assert not fits(amounts(cpus=1, chips=5), CAPACITY)
    assert not fits(amounts(cpus=1, memory_bytes=101), CAPACITY)


def test_a_cluster_has_none_of_what_it_does_not_name():
    assert not fits({"chip:H200": Decimal(1)}, CAPACITY)
    assert fits({"chip:H200": Decimal(0)}, CAPACITY)


@given(held=st.lists(some_cpus), waiting=st.lists(some_cpus))
def test_what_is_admitted_never_exceeds_what_is_free(held, waiting):
    count = admit(capacity=CAPACITY, held=held, waiting=waiting)
    taken = sum(demand["cpus"] for demand in waiting[:count])
    free = CAPACITY["cpus"] - sum(demand["cpus"] for demand in held)
    assert taken == 0 or taken <= free
    if count < len(waiting):
        assert waiting[count]["cpus"] > free - taken


@given(held=st.lists(some_cpus), waiting=st.lists(some_cpus), more=some_cpus)
def test_who_comes_later_changes_nothing_for_those_before(held, waiting, more):
    before = admit(capacity=CAPACITY, held=held, waiting=waiting)
    after = admit(capacity=CAPACITY, held=held, waiting=[*waiting, more])
    assert min(after, len(waiting)) == before


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        (amounts(), "0"),
        (amounts(cpus=2), "0.25"),
        (amounts(cpus=2, chips=3), "0.75"),
        (amounts(cpus=16), "1"),
        ({"chip:H200": Decimal(1)}, "1"),
        ({"chip:H200": Decimal(0)}, "0"),
    ],
)
def test_a_demands_share_is_its_largest_of_anything(demand, expected):
    assert share(demand, CAPACITY) == Decimal(expected)
