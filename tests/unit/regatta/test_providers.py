"""The fake provider keeps the contract, and what leads to the real one is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from provider_contract import *  # noqa: F403

from regatta.providers import NAMES
from regatta.providers import provider as provider_of
from regatta.providers.labels import wrong_label
from regatta.providers.local import LocalProvider
from regatta.providers.provider import UnknownProvider, sanitized
from regatta.testing.providers import FakeProvider


@pytest.fixture
def provider():
    return FakeProvider()


@pytest.fixture
def eventually():
    def check(holds):
        assert holds()

    return check


def test_a_provider_is_known_by_its_name():
    assert NAMES == ("local",)
    assert isinstance(provider_of("local", home=Path("/nowhere")), LocalProvider)
    with pytest.raises(UnknownProvider, match="no provider 'moon'; there are: local"):
        provider_of("moon", home=Path("/nowhere"))


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [
        ({}, ""),
        ({"zone": "a", "example.com/rack": "r-1.2_3"}, ""),
        ({"zone": ""}, "zone="),
        ({"": "a"}, "=a"),
        ({"zone": 1}, "zone=1"),
        ({"zone": "a,b=c"}, "zone=a,b=c"),
        ({"-zone": "a"}, "-zone=a"),
        ({"zone": "a" * 64}, "zone=" + "a" * 64),
        ({"ray.io/node-id": "1"}, "ray.io/node-id=1"),
        ({"simulated": "false"}, "simulated=false"),
        ({f"k{number}": "v" for number in range(17)}, "17 labels"),
        (["zone"], "['zone']"),
    ],
)
def test_labels_that_ray_would_not_take_or_sets_itself_are_named(labels, wrong):
    assert wrong_label(labels) == wrong


def test_a_chip_becomes_a_resource_of_plain_letters():
    assert sanitized('Ascend 910B "x"=1') == "Ascend_910B__x__1"
