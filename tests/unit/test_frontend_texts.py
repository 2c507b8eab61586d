"""Every state and reason has a look and a sentence; figures are told as people write them."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from lucide import _render_icon

from apps.clusters import texts as clusters
from apps.jobs import commands
from apps.jobs import texts as jobs
from apps.web.templatetags import portal
from regatta.lifecycle import cluster as cluster_life
from regatta.lifecycle.attempt import AttemptState, Reason

TONES = {"live", "good", "warn", "bad", "doubt", "still"}
LOOKS = [
    *jobs.LOOKS.values(),
    jobs.UNKNOWN,
    *clusters.LOOKS.values(),
    *clusters.NODE_LOOKS.values(),
]


def test_every_state_of_a_job_a_cluster_and_a_node_has_a_look():
    assert set(jobs.LOOKS) == set(AttemptState)
    assert set(clusters.LOOKS) == set(cluster_life.ClusterState)
    assert set(clusters.NODE_LOOKS) == set(cluster_life.NodeState)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: str(look.word))
def test_a_look_has_a_known_tone_and_an_icon_that_is_there(look):
    assert look.tone in TONES
    assert _render_icon(look.icon, 16).startswith("<svg")


def test_no_two_states_of_a_kind_look_alike_without_their_colour():
    for looks in (jobs.LOOKS, clusters.LOOKS, clusters.NODE_LOOKS):
        shapes = [(str(look.word), look.icon) for look in looks.values()]
        assert len(set(shapes)) == len(shapes)


def test_every_reason_of_a_job_has_a_sentence():
    assert set(jobs.WHY) == set(Reason)
    assert all(str(jobs.sentence(reason)).endswith(".") for reason in Reason)


def test_every_reason_that_a_clusters_life_gives_has_a_sentence():
    source = Path(cluster_life.__file__).read_text()
    given = set(re.findall(r'reason="(\w+)"', source)) | set(re.findall(r'return "(\w+)"', source))
    assert {reason for reason in given if not clusters.sentence(reason)} == set()


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (None, "\u2013"),
        (0, "$0.00"),
        (Decimal("0.00254"), "$0.0025"),
        (Decimal("0.0500"), "$0.05"),
        (Decimal("0.099999"), "$0.10"),
        (Decimal("0.3"), "$0.30"),
        (Decimal("1234.565"), "$1,234.57"),
        (Decimal("-0.97"), "-$0.97"),
    ],
)
def test_money_is_told_in_cents_and_small_sums_in_more(amount, words):
    assert portal.usd(amount) == words


@pytest.mark.parametrize(
    ("total", "part", "words"),
    [
        ("0.04084", "0.03", ("$0.0408", "$0.0300", "$0.0108")),
        ("1", "0.03", ("$1.00", "$0.03", "$0.97")),
        ("9.995", "4.994", ("$10.00", "$4.99", "$5.01")),
        ("0", "0", ("$0.00", "$0.00", "$0.00")),
    ],
)
def test_money_that_stands_together_has_like_decimals_and_adds_up(total, part, words):
    total, part = Decimal(total), Decimal(part)
    rest = portal.usd_rest(total, part, total)
    assert (portal.usd(total, total), portal.usd(part, total), rest) == words
    assert portal.usd_rest(None, part, None) == portal.NONE


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "\u2013"),
        (59.9, "59 s"),
        (timedelta(minutes=4, seconds=9), "4 min 09 s"),
        (3720, "1 h 02 min"),
        (273_600, "3 d 04 h"),
    ],
)
def test_durations_are_told_in_two_units(value, words):
    assert portal.duration(value) == words


def test_what_is_half_typed_asks_for_what_is_a_number():
    values = {"cpus": "2.5", "memory_gib": "x", "chip": "P800", "chips": "-1"}
    assert commands.demand_of(values) == {
        "cpus": Decimal("2.5"),
        "memory_bytes": Decimal(0),
        "chips": Decimal(0),
    }
    assert commands.demand_of({"cpus": "NaN"})["cpus"] == 0
