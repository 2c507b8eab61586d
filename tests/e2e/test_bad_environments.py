"""An environment that a real Ray cannot set up ends its job for good, in Ray's own words."""

from __future__ import annotations

import pytest
from portals import a_portal


@pytest.fixture(scope="module")
def portal():
    with a_portal() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(portal):
    return portal.a_cluster()


@pytest.mark.parametrize(
    ("runtime_env", "reason", "words"),
    [
        (
            {"working_dir": "https://127.0.0.1:9/none.zip"},
            "environment_failed",
            "Connection refused",
        ),
        (
            {"config": {"setup_timeout_seconds": -5}},
            "refused_by_cluster",
            "setup_timeout_seconds must be greater than zero",
        ),
    ],
)
def test_a_bad_environment_ends_a_job_at_once_and_says_why(
    portal, cluster, runtime_env, reason, words
):
    job = portal.submit(cluster, "echo ran", runtime_env=runtime_env, retries=2)
    told = portal.ended(job["id"])
    assert (told["state"]["state"], told["state"]["reason"]) == ("failed", reason)
    [attempt] = portal.api.get(f"/jobs/{job['id']}/attempts")["items"]
    assert words in attempt["evidence"]["message"]
    assert "  File " not in attempt["evidence"]["message"]
