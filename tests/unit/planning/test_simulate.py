"""The event simulator against worked schedules, and against what no schedule can beat."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regatta.planning.shapes import BadField
from regatta.planning.simulate import Pipeline, order, play, schedule

TIMES = st.floats(0.1, 10)


def even(pp, m, vpp=1, send_s=0.0):
    return Pipeline(
        forward_s=[1.0] * pp,
        backward_s=[2.0] * pp,
        send_s=[send_s] * pp,
        reduce_s=[0.0] * pp,
        micro_batches=m,
        vpp=vpp,
    )


@pytest.mark.parametrize(("pp", "m", "vpp"), [(1, 5, 1), (4, 8, 1), (4, 8, 2), (8, 16, 4)])
def test_even_stages_have_the_bubble_of_the_paper(pp, m, vpp):
    """Narayanan 2021, section 2.2: m + (pp-1)/vpp micro-batches' time, in chunks here."""
    assert play(even(pp, m, vpp)).seconds == pytest.approx(3 * (m * vpp + pp - 1))


def test_one_forward_one_backward_has_the_order_of_the_paper():
    """Narayanan 2021, figure 4: the second of four stages, two forwards ahead."""
    words = [f"{'B' if back else 'F'}{batch}" for _, batch, back in order(1, 4, 1, 4)]
    assert words == ["F0", "F1", "F2", "B0", "F3", "B1", "B2", "B3"]


def test_chunks_go_in_waves_of_the_pipelines_depth():
    words = [(chunk, batch) for chunk, batch, back in order(0, 2, 2, 4) if not back]
    assert words == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]


def test_interleaving_needs_micro_batches_in_multiples_of_the_depth():
    with pytest.raises(BadField, match="micro_batches: 6 is no multiple of pp = 4"):
        play(even(4, 6, 2))


@settings(max_examples=80, deadline=None)
@given(
    stages=st.lists(st.tuples(TIMES, TIMES, TIMES), min_size=1, max_size=6),
    waves=st.integers(1, 5),
    vpp=st.integers(1, 3),
)
def test_every_operation_is_played_once_after_its_input_and_none_beats_the_bounds(
    stages, waves, vpp
):
    forward, backward, reduce = (list(column) for column in zip(*stages, strict=True))
    pp = len(stages)
    m, vpp = pp * waves, vpp if pp > 1 else 1
    pipeline = Pipeline(
        forward_s=forward,
        backward_s=backward,
        send_s=[0.05] * pp,
        reduce_s=reduce,
        micro_batches=m,
        vpp=vpp,
    )
    played = play(pipeline)
    at = {(s, c, b, back): t for s, c, b, back, t in played.starts}
    assert len(at) == len(played.starts) == 2 * pp * m * vpp
    for (stage, chunk, batch, back), start in at.items():
        if back and stage < pp - 1:
            assert start >= at[stage + 1, chunk, batch, True] + backward[stage + 1]
        if not back and stage:
            assert start >= at[stage - 1, chunk, batch, False] + forward[stage - 1]
        if back:
            assert start >= at[stage, chunk, batch, False] + forward[stage]
    work = [m * vpp * (f + b) for f, b in zip(forward, backward, strict=True)]
    assert played.busy_s == pytest.approx(work)
    assert played.seconds >= max(w + r for w, r in zip(work, reduce, strict=True)) - 1e-9
    assert played.seconds >= sum(forward) + sum(backward)


def test_a_schedule_for_a_picture_fills_each_stage_without_overlap():
    drawn = schedule(even(4, 8, 2, send_s=0.1))
    assert drawn.left_out == 0
    assert drawn.seconds == play(even(4, 8, 2, send_s=0.1)).seconds
    for stage in drawn.stages:
        assert len(stage) == 2 * 8 * 2 + 1
        assert all(one.end_s <= two.start_s for one, two in pairwise(stage))
        assert {(op.micro_batch, op.chunk) for op in stage[:-1]} == set(
            product(range(8), range(2))
        )
        assert sum(op.end_s - op.start_s for op in stage) == pytest.approx(8 * 2 * 3)
        assert stage[-1].kind == "reduce"


@pytest.mark.parametrize("most", [1, 7, 100])
def test_a_long_schedule_is_drawn_at_its_ends(most):
    drawn = schedule(even(4, 200), most)
    operations = [op for stage in drawn.stages for op in stage if op.kind != "reduce"]
    assert len(operations) == most
    assert drawn.left_out == 2 * 4 * 200 - most
    assert 100 not in {op.micro_batch for op in operations}


def test_the_last_micro_batches_of_a_tail_are_short():
    drawn = schedule(replace(even(1, 4), tail=2, tail_share=0.5))
    took = [op.end_s - op.start_s for op in drawn.stages[0] if op.kind == "forward"]
    assert took == [1, 1, 0.5, 0.5]
