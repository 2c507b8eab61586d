"""Constants by levels, and the fit that finds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regatta.planning import calibration
from regatta.planning.calibration import Sample

SHIPPED = calibration.shipped()
BLANK = replace(SHIPPED, factors={})


def test_an_unseen_chip_and_stack_have_the_common_values():
    k = calibration.constants("Nobody-1", "nobody", "2030", SHIPPED)
    common = SHIPPED.factors["all"]
    for name, about in SHIPPED.constants.items():
        assert getattr(k, name) == pytest.approx(about["prior"] * common.get(name, 1.0)), name


def test_an_unseen_release_has_the_constants_of_the_nearest():
    seen = calibration.constants("H100-80GB", "megatron-core", "2026-08")
    assert calibration.constants("H100-80GB", "megatron-core", "2027-03") == seen


def test_no_stack_means_the_newest_megatron_core():
    newest = calibration.constants("H100-80GB", "megatron-core", "2026-08")
    assert calibration.constants("H100-80GB") == newest


@pytest.mark.parametrize(
    ("stack", "release", "fused"),
    [("megatron-lm", "2022", 0.0), ("megatron-lm", "2024", 1.0), ("sailor", "2025", 0.0)],
)
def test_attention_is_fused_since_2023_in_all_but_a_few_stacks(stack, release, fused):
    assert calibration.constants("A100-80GB", stack, release).fused_attention == fused


@pytest.mark.parametrize(
    ("release", "year"),
    [("2025", 2025.5), ("2025-04", 2025.25), ("", float("inf")), ("v0.9", float("inf"))],
)
def test_releases_are_read_as_years(release, year):
    assert calibration.year(release) == year


def test_the_fit_finds_what_made_the_measurements():
    """Steps of launch_s x 48 layers, longer on one chip: shrunk, yet found."""
    slow = {"B200": 1.3}
    samples = [
        Sample(
            **{"chip": chip, "stack": "s", "release": "2025", "weight": 20.0},
            measured=0.048 * slow.get(chip, 1),
        )
        for chip in ("A100-80GB", "H100-80GB", "B200")
    ]
    layers = np.full(len(samples), 48.0)
    fitted = calibration.fit(BLANK, samples, lambda k: np.asarray(k.launch_s) * layers, "time")
    for chip in ("A100-80GB", "B200"):
        k = calibration.constants(chip, "s", "2025", fitted)
        assert float(k.launch_s) == pytest.approx(1e-3 * slow.get(chip, 1), rel=0.03)
    assert all(set(f) <= {"launch_s"} for f in fitted.factors.values()), "nothing else moves"


def test_releases_near_in_time_share_what_one_of_them_measured():
    samples = [
        Sample(
            **{"chip": "A100-80GB", "stack": "s", "release": release, "weight": weight},
            measured=0.048 * slower,
        )
        for release, weight, slower in (
            ("2024-01", 20.0, 1.0),
            ("2025-06", 20.0, 1.3),
            ("2025-08", 1e-6, 1.0),
        )
    ]
    layers = np.full(len(samples), 48.0)
    fitted = calibration.fit(BLANK, samples, lambda k: np.asarray(k.launch_s) * layers, "time")
    old, new, newer = (fitted.factors[f"release:s/{s.release}"]["launch_s"] for s in samples)
    assert old < newer < new


def test_what_the_code_of_a_software_says_stands_instead_of_the_prior():
    k = calibration.constants("GH200-96GB", "sailor", "2025", BLANK)
    assert (k.matrix_copies, k.fused_attention) == (1.0, 0.0)
    assert all(about["source"] for about in SHIPPED.stacks.values())


def test_every_constant_says_what_it_means_and_where_its_prior_is_from():
    for name, about in SHIPPED.constants.items():
        assert about["meaning"], name
        assert about["source"], name
        assert about["prior"] > 0, name
        assert about["of"] in {"time", "memory"}


def test_no_level_is_a_model_a_row_or_a_source():
    kinds = {key.partition(":")[0] for key in SHIPPED.factors}
    assert kinds <= {"all", "generation", "chip", "stack", "release"}
