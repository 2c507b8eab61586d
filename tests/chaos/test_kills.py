"""A broker, a worker, PostgreSQL or a Ray head is killed: no accepted job is lost, none runs twice."""

from __future__ import annotations

import uuid

import psutil
import pytest
from portals import a_portal, until

pytestmark = pytest.mark.timeout(600)
JOBS = 6


@pytest.fixture(scope="module")
def portal(tmp_path_factory):
    with a_portal(tmp_path_factory.mktemp("chaos") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def cluster(portal):
    return portal.cluster(workers=1, cpus=2)


@pytest.fixture
def marks(tmp_path):
    """A folder where each attempt that runs leaves a file of its own."""
    return tmp_path


def leaving_a_mark(marks):
    """An entrypoint that notes job and attempt, once per process that really ran."""
    return (
        f'python -c "import os, time, uuid; '
        f"open(os.path.join('{marks}', os.environ['REGATTA_JOB_ID'] + '_' + uuid.uuid4().hex), 'w'); "
        f'time.sleep(1)"'
    )


def submitted_while(portal, cluster, marks, *, strike):
    """Accepted jobs, with `strike` in the middle of submitting them."""
    jobs = []
    for number in range(JOBS):
        if number == JOBS // 2:
            strike()
        # The client repeats a request that met a portal without its database, by the same key.
        jobs.append(
            portal.submit(
                cluster, leaving_a_mark(marks), key=uuid.uuid4().hex, resources={"cpus": 1}
            )
        )
    return jobs


def runs_of(marks, job):
    return len(list(marks.glob(f"{job['id']}_*")))


@pytest.mark.parametrize("victim", ["broker", "worker", "postgres", "ticker", "web"])
def test_a_killed_service_loses_no_accepted_job_and_runs_none_twice(
    portal, cluster, marks, victim
):
    before = portal.pid(victim)
    jobs = submitted_while(portal, cluster, marks, strike=lambda: portal.kill(victim))
    ended = [portal.ended(job) for job in jobs]
    assert [job["state"]["state"] for job in ended] == ["succeeded"] * JOBS
    assert [runs_of(marks, job) for job in jobs] == [1] * JOBS
    assert len({job["id"] for job in jobs}) == JOBS
    assert until(lambda: portal.pid(victim), lambda pid: pid != before, within_s=60)


def test_a_killed_ray_head_loses_no_accepted_job(portal, cluster, marks):
    def strike():
        until(lambda: sum(runs_of(marks, job) for job in started), bool, within_s=60)
        for process in psutil.process_iter(["environ", "name"]):
            environ = process.info["environ"] or {}
            if environ.get("REGATTA_NODE", "").endswith("-n0") and mine(environ, portal):
                process.kill()

    started = [portal.submit(cluster, leaving_a_mark(marks), key="before", resources={"cpus": 1})]
    jobs = started + submitted_while(portal, cluster, marks, strike=strike)
    ended = [portal.ended(job, within_s=240) for job in jobs]
    assert [job["state"]["state"] for job in ended] == ["succeeded"] * len(jobs)
    for job in ended:
        attempts = portal.api.get(f"/jobs/{job['id']}/attempts")
        states = [one["state"]["state"] for one in attempts.get("items", attempts)]
        assert states.count("succeeded") == 1
        assert set(states) <= {"succeeded", "lost"}


def mine(environ, portal):
    return environ.get("REGATTA_HOME") == str(portal.at.home)
