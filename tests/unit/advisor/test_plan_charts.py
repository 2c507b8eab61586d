"""The picture of a search, and bars that add up."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from apps.advisor import plan_charts, plan_texts
from apps.advisor.plan_charts import BAR, bar, choices, code, front, thinned
from apps.advisor.plan_terms import MEMORY, TIME
from regatta.hardware.clusters import read_cluster
from regatta.planning import calibration, layers, memory
from regatta.planning.hf import known_models, read_model
from regatta.planning.ranking import WORDS
from regatta.planning.search import search, site

SHAPE = read_model(known_models()["llama-3-8b"], seq_len=8192)
AT = site(read_cluster({"chips": {"H100": 16}}))
FOUND = search(SHAPE, AT, 64, top=5, picture=5_000)
POINTS = st.integers(1, 300).flatmap(
    lambda n: st.tuples(*(arrays(float, n, elements=st.floats(0.1, 1e4)) for _ in range(2)))
)


@given(POINTS)
def test_thinning_keeps_at_most_one_point_a_cell_and_the_extremes_of_memory(points):
    times, peaks = points
    kept = thinned(times, peaks)
    assert 1 <= len(kept) <= min(len(times), plan_charts.COLUMNS * plan_charts.ROWS)
    assert len(set(kept.tolist())) == len(kept)
    step = (peaks.max() - peaks.min()) / plan_charts.ROWS + 1e-9
    assert peaks[kept].min() <= peaks.min() + step
    assert peaks[kept].max() >= peaks.max() - step


@given(POINTS)
def test_nothing_beats_the_front_in_both(points):
    times, peaks = points
    best = front(times, peaks)
    for at in best:
        beaten = (times <= times[at]) & (peaks <= peaks[at])
        assert not (beaten & ((times < times[at]) | (peaks < peaks[at]))).any()
    assert times[best[0]] == times.min()
    assert peaks[best[-1]] == peaks.min()


def test_a_bar_sums_to_the_whole_and_names_every_part():
    item = FOUND.plans[0]
    pieces = bar(item.breakdown, TIME, whole=item.iteration_s)
    assert sum(piece.value for piece in pieces) == pytest.approx(item.iteration_s)
    assert sum(piece.share for piece in pieces) == pytest.approx(100)
    assert pieces[-1].x + pieces[-1].width == pytest.approx(BAR, abs=0.1)


def test_every_part_of_the_engine_has_its_term():
    assert set(TIME) == set(WORDS) == set(FOUND.plans[0].breakdown)
    held = memory.peak(SHAPE, FOUND.plans[0].plan, AT.machine, AT.constants)
    assert set(MEMORY) == set(held.breakdown)


def test_terms_use_what_the_engine_has():
    known = {f"k.{name}" for name in (*calibration.shipped().constants, "fused_attention")}
    known |= {f"plan.{field.name}" for field in fields(FOUND.plans[0].plan)}
    used = {name for terms in (TIME, MEMORY) for term in terms.values() for name in term.uses}
    others = {name for name in used - known if not name.startswith("chip.")}
    assert {"runs", "layer", "micro_batches", "chips", "common", "rest"} <= others
    assert {"k.memory", "k.intra"} <= used
    assert hasattr(layers.LayerTimes, "gemm_s")


def test_a_code_names_the_choices_of_a_plan():
    plan = FOUND.plans[0].plan
    assert (
        choices(code(plan)).items()
        <= {f.name: getattr(plan, f.name) for f in fields(plan)}.items()
    )
    with pytest.raises(ValueError, match="zip"):
        choices("1-2-3")


def test_the_picture_shows_the_chosen_plan_within_the_bound():
    figure, shown = plan_charts.picture(
        FOUND.cloud, ranked=FOUND.plans, chosen=FOUND.plans[2], memory_bytes=80 * 2**30
    )
    cloud, _front, ranked, chosen, limit = figure["data"]
    assert len(cloud["x"]) == shown <= plan_charts.COLUMNS * plan_charts.ROWS
    assert len(ranked["x"]) == 5
    assert chosen["customdata"] == [code(FOUND.plans[2].plan)]
    assert set(limit["y"]) == {80}
    assert np.isfinite(cloud["y"]).all()


def test_words_say_why_a_plan_loses():
    first, second = FOUND.plans[:2]
    assert plan_texts.why(first, None).startswith("The fastest. Its time goes to ")
    told = plan_texts.why(second, first)
    assert "slower by" in told or "As fast" in told
    assert "→" in told
