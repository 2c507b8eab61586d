"""Generations of chips in the calibration: each name is the one the catalogue has."""

from __future__ import annotations

from itertools import chain

from regatta.hardware.catalogue import catalogue
from regatta.planning.calibration import constants, shipped

NAMED = list(chain.from_iterable(shipped().generations.values()))


def test_every_chip_of_a_generation_is_in_the_catalogue_and_in_no_other_generation():
    assert set(NAMED) <= set(catalogue())
    assert len(NAMED) == len(set(NAMED))


def test_a_chip_that_was_never_measured_has_the_constants_of_its_generation():
    """H200 stands in no measured run: it is not a chip of nowhere, but a Hopper."""
    assert "chip:H200-141GB" not in shipped().factors
    assert constants("H200-141GB") == constants("H20-96GB") != constants("Kunlun-P800")
