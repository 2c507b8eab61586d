"""Lines that are thinned keep their shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regatta.telemetry.series import thin

lines = st.lists(st.floats(-1e6, 1e6), max_size=300).map(
    lambda values: [(float(x), y) for x, y in enumerate(values)]
)


@given(lines, st.integers(3, 50))
def test_points_are_a_choice_of_the_given_ones_in_their_order(line, most):
    kept = thin(line, most=most)
    assert len(kept) == min(len(line), most)
    assert kept == sorted(set(kept) & set(line))
    assert kept[:1] + kept[-1:] == line[:1] + line[-1:]


def test_a_single_spike_survives():
    line = [(float(x), 0.0) for x in range(10_000)]
    line[4321] = (4321.0, 5.0)
    assert (4321.0, 5.0) in thin(line, most=20)


def test_a_shape_needs_three_points():
    with pytest.raises(ValueError, match="at least 3"):
        thin([(0.0, 0.0)], most=2)
