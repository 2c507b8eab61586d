"""How long a submission takes to be accepted and to reach Ray; whether a thousand all count."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from measure import at, enter, tell
from portals import RunningPortal, a_portal

ACCEPTED, TO_RAY, MANY, CLIENTS = 200, 20, 1000, 8


def main() -> None:
    with a_portal() as portal:
        enter(portal.at.home)
        cluster = portal.a_cluster(cpus=2)
        tell_reaching_ray(portal, cluster)
        full = full_cluster(portal, cluster)
        tell_accepted(portal, full)
        tell_many(portal, full)


def tell_reaching_ray(portal: RunningPortal, cluster: dict[str, Any]) -> None:
    """From the request to the moment when Ray's own API knows the job; one job at a time."""
    from apps.clusters import selectors  # noqa: PLC0415

    head = selectors.endpoint(cluster["id"])
    assert head is not None
    took = []
    with client(head.address, head.token) as ray:
        for number in range(TO_RAY + 1):
            began_s = time.perf_counter()
            job = portal.submit(cluster, "true", name=f"to ray {number}")
            while ray.get(f"/api/jobs/job-{job['id']}-a1").status_code != httpx.codes.OK:
                time.sleep(0.01)
            took.append(1000 * (time.perf_counter() - began_s))
            portal.ended(job["id"])
    took = took[1:]  # the first one opens connections
    median = round(statistics.median(took))
    tell("submit_to_ray_p95", at(0.95, took), "ms", limit=500, p50_ms=median, jobs=TO_RAY)


def full_cluster(portal: RunningPortal, cluster: dict[str, Any]) -> dict[str, Any]:
    """A job holds the whole cluster, so that all others wait in the queue."""
    portal.submit(cluster, "sleep 3600", name="holds all", resources={"cpus": 2})
    return cluster


def tell_accepted(portal: RunningPortal, cluster: dict[str, Any]) -> None:
    took = []
    with client(portal.at.url, portal.token) as http:
        for number in range(ACCEPTED + 10):
            began_s = time.perf_counter()
            answer = http.post("/api/v1/jobs", json=a_body(cluster, f"accepted {number}"))
            took.append(1000 * (time.perf_counter() - began_s))
            assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    took = took[10:]
    median = round(statistics.median(took), 1)
    tell("submit_accepted_p95", at(0.95, took), "ms", limit=50, p50_ms=median, jobs=ACCEPTED)


def tell_many(portal: RunningPortal, cluster: dict[str, Any]) -> None:
    """A thousand from several clients, each sent twice with one key, as by a client in doubt."""
    from apps.jobs.models import Attempt, Job  # noqa: PLC0415

    def submit(number: int) -> int:
        with client(portal.at.url, portal.token) as http:
            answers = [
                http.post(
                    "/api/v1/jobs",
                    json=a_body(cluster, f"many {number}"),
                    headers={"Idempotency-Key": f"many-{number}"},
                )
                for _ in range(2)
            ]
        assert {answer.status_code for answer in answers} == {202}, answers[-1].text
        (pk,) = {answer.json()["id"] for answer in answers}
        return int(pk)

    began_s = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        told = list(pool.map(submit, range(MANY)))
    rate = 2 * MANY / (time.perf_counter() - began_s)
    kept = set(Job.objects.filter(name__startswith="many ").values_list("pk", flat=True))
    attempts = Attempt.objects.filter(job__in=kept).count()
    lost, doubled = len(set(told) - kept), len(kept - set(told)) + attempts - len(kept)
    more = {"jobs": MANY, "requests_per_s": round(rate, 1), "clients": CLIENTS}
    tell("queued_submissions_lost", lost, "jobs", limit=0, **more)
    tell("queued_submissions_doubled", doubled, "jobs", limit=0, **more)


def a_body(cluster: dict[str, Any], name: str) -> dict[str, Any]:
    return {"name": name, "cluster_id": cluster["id"], "entrypoint": "true"}


def client(url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=60.0, trust_env=False)


if __name__ == "__main__":
    main()
