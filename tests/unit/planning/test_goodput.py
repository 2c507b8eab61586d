"""Checkpoint intervals and goodput: worked cases, and what must always hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regatta.planning.goodput import goodput, interval_s, waste

HOUR = 3600.0


@pytest.mark.parametrize(
    ("save_s", "mtti_h", "minutes", "lost"),
    [
        (60, 3, 19.0, 0.105),
        (60, 24, 53.7, 0.037),
        (300, 3, 42.4, 0.236),
        (143, 8.9, 50.5, 0.094),  # 70B on 1,000 cards, blocking
        (4, 8.9, 8.4, 0.016),  # the same, copied aside in 4 s
    ],
)
def test_the_interval_of_young_and_daly_and_what_it_loses(save_s, mtti_h, minutes, lost):
    assert interval_s(save_s, mtti_h * HOUR) / 60 == pytest.approx(minutes, abs=0.05)
    assert waste(save_s, mtti_h * HOUR) == pytest.approx(lost, abs=0.0006)


@pytest.mark.parametrize(
    ("save_s", "recovery_s", "interval", "share"),
    [(0.2, 120, 67, 0.983), (120, 600, 1634, 0.799)],
)
def test_goodput_of_16384_cards_at_the_rate_of_llama_3(save_s, recovery_s, interval, share):
    """MTTI 3.09 h: 50,677 GPU-hours per interruption on 16,384 cards."""
    found = goodput(chips=16_384, mtbf_h=50_677, save_s=save_s, recovery_s=recovery_s)
    assert found.mtti_s / HOUR == pytest.approx(3.09, abs=0.005)
    assert found.interval_s == pytest.approx(interval, abs=1)
    assert found.share == pytest.approx(share, abs=0.0006)


@pytest.mark.parametrize(
    ("chips", "mtbf_h", "hours"),
    [(1_000, 50_677, 50.7), (10_000, 50_677, 5.07), (1_000, 8_889, 8.9), (10_000, 8_889, 0.89)],
)
def test_hours_to_the_next_interruption(chips, mtbf_h, hours):
    found = goodput(chips=chips, mtbf_h=mtbf_h, save_s=1, recovery_s=1)
    assert found.mtti_s / HOUR == pytest.approx(hours, rel=0.005)


@given(
    chips=st.integers(1, 100_000),
    mtbf_h=st.floats(100, 1e6),
    save_s=st.floats(0.01, 1e4),
    recovery_s=st.floats(1, 1e5),
)
def test_more_chips_never_keep_a_larger_share(chips, mtbf_h, save_s, recovery_s):
    few, many = (
        goodput(chips=n, mtbf_h=mtbf_h, save_s=save_s, recovery_s=recovery_s)
        for n in (chips, chips + 1)
    )
    assert 0 <= many.share <= few.share <= 1


@given(save_s=st.floats(0.01, 1e4), mtti_s=st.floats(1, 1e7), other=st.floats(0.1, 10))
def test_no_other_interval_loses_less(save_s, mtti_s, other):
    tau = interval_s(save_s, mtti_s) * other
    assert save_s / tau + tau / (2 * mtti_s) >= waste(save_s, mtti_s) * (1 - 1e-9)


@pytest.mark.parametrize("name", ["chips", "mtbf_h", "save_s", "recovery_s"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_what_is_not_above_zero_is_named(name, value):
    sound = {"chips": 8, "mtbf_h": 1e4, "save_s": 10, "recovery_s": 60}
    with pytest.raises(ValueError, match=rf"^{name}: a number above 0"):
        goodput(**sound | {name: value})
