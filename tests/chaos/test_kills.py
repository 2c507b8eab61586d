"""Each service and a Ray head are killed: no accepted job is lost, and none runs twice."""

from __future__ import annotations

import uuid

import psutil
import pytest
from portals import a_portal, until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def portal():
    with a_portal() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(portal):
    return portal.a_cluster(workers=1, cpus=2)


@pytest.fixture
def marks(tmp_path):
    """A folder where each attempt that runs leaves a file of its own."""
    return tmp_path


def submitted(portal, cluster, marks, count=1):
    """Accepted jobs that note their number, once for each process that really ran.

    The client repeats a request that met a portal without its database, by the same key.
    """
    name = f"'{marks}/' + os.environ['REGATTA_JOB_ID'] + '_' + uuid.uuid4().hex"
    code = f"import os, time, uuid; open({name}, chr(119)); time.sleep(1)"
    return [
        portal.submit(cluster, f'python -c "{code}"', key=uuid.uuid4().hex, resources={"cpus": 1})
        for _ in range(count)
    ]


def runs_of(marks, job):
    return len(list(marks.glob(f"{job['id']}_*")))


@pytest.mark.parametrize("victim", ["broker", "worker", "postgres", "ticker", "web"])
def test_a_killed_service_loses_no_accepted_job_and_runs_none_twice(
    portal, cluster, marks, victim
):
    before = portal.pid(victim)
    jobs = submitted(portal, cluster, marks, 2)
    portal.kill(victim)
    jobs += submitted(portal, cluster, marks, 2)
    ended = [portal.ended(job["id"]) for job in jobs]
    assert [job["state"]["state"] for job in ended] == ["succeeded"] * 4
    assert [runs_of(marks, job) for job in jobs] == [1] * 4
    assert len({job["id"] for job in jobs}) == 4
    until(lambda: portal.pid(victim) not in {0, before}, f"{victim} runs again")


def test_a_killed_ray_head_loses_no_accepted_job(portal, cluster, marks):
    jobs = submitted(portal, cluster, marks)
    until(lambda: runs_of(marks, jobs[0]), "the first job runs")
    nodes = portal.api.get(f"/clusters/{cluster['id']}/nodes")["items"]
    [head] = [n["name"] for n in nodes if (n["role"], n["state"]["state"]) == ("head", "ready")]
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("REGATTA_NODE") == head and mine(process, portal):
            process.kill()
    jobs += submitted(portal, cluster, marks, 3)
    for job in jobs:
        assert portal.ended(job["id"])["state"]["state"] == "succeeded"
        attempts = portal.api.get(f"/jobs/{job['id']}/attempts")["items"]
        states = [attempt["state"]["state"] for attempt in attempts]
        assert states.count("succeeded") == 1
        assert set(states) <= {"succeeded", "lost"}


def mine(process, portal):
    return process.info["environ"].get("REGATTA_HOME") == str(portal.at.home)
