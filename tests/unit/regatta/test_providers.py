"""The fake provider keeps the contract, and what leads to the real one is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from provider_contract import *  # noqa: F403
from provider_contract import a_head, a_spec

from regatta.providers import NAMES
from regatta.providers import provider as provider_of
from regatta.providers.labels import wrong_label
from regatta.providers.last_words import MOST_LINES, last_words
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


RAYS_LOG = """\
2026-11-25 02:04:02,312\tINFO scripts.py:1234 -- Local node IP: 127.180.196.225
2026-11-25 02:04:02,312\tSUCC scripts.py:1250 -- --------------------
2026-11-25 02:04:02,312\tSUCC scripts.py:1251 -- Ray runtime started.

"""


def test_a_node_whose_log_says_that_all_is_well_has_no_last_words():
    assert last_words(RAYS_LOG) == ""
    assert last_words("") == ""


def test_the_last_words_are_the_lines_that_tell_of_trouble_without_rays_prefix_and_colour():
    log = RAYS_LOG + (
        "2026-11-25 02:04:09,001\tERR scripts.py:1306 -- Some Ray subprocesses exited:\n"
        "  \x1b[1mraylet\x1b[22m [exit code=1]\n"
        "Traceback (most recent call last):\n"
        '  File "node.py", line 952, in start\n'
        "    raise OSError(28)\n"
        "          ^^^^^^^^^^^\n"
        "OSError: [Errno 28] No space left on device\n"
    )
    assert last_words(log).splitlines() == [
        "Some Ray subprocesses exited:",
        "  raylet [exit code=1]",
        "OSError: [Errno 28] No space left on device",
    ]
    assert len(last_words("trouble\n" * 99).splitlines()) == MOST_LINES


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("started with s3cr3t-of-the-cluster", "started with ***"),
        ("Authorization: Bearer abcdef123", "Authorization: Bearer ***"),
        ("RAY_AUTH_TOKEN=abcdef123 ray start", "RAY_AUTH_TOKEN=*** ray start"),
        ("{'password': 'abcdef123'}", "{'password': '***'}"),
        ("redis://user:abcdef123@host:6379", "redis://***@host:6379"),
        ("The token does not match.", "The token does not match."),
    ],
)
def test_last_words_tell_no_secret(line, masked):
    assert last_words(line, secrets=["s3cr3t-of-the-cluster", ""]) == masked


def test_a_local_node_speaks_from_its_log_and_says_nothing_before_it_has_one(tmp_path):
    local, spec = LocalProvider(tmp_path), a_spec(a_head(), token="t0k3n-of-it")
    assert local.last_words(spec, "clu-1-s1-n0") == ""
    folder = tmp_path / "clusters" / "clu-1" / "clu-1-s1-n0"
    folder.mkdir(parents=True)
    (folder / "ray.log").write_text(f"{RAYS_LOG}RuntimeError: t0k3n-of-it is taken\n")
    assert local.last_words(spec, "clu-1-s1-n0") == "RuntimeError: *** is taken"
