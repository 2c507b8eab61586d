"""The list of 50 jobs out of 100,000, first and deep page, beside Ray's own list of 2,000 jobs.

Both lists are asked over HTTP by as many clients at once, in turn, on the same machine.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from measure import ROOT, at, enter, tell
from portals import RunningPortal, a_portal

JOBS, RAY_JOBS, DEEP = 100_000, 2_000, 90_000
PAGES, CLIENTS = 1000, 4
PORTAL_S, RAY_S, ROUNDS = 5.0, 20.0, 3
Ask = Callable[..., bytes]


def main() -> None:
    with a_portal() as portal:
        enter(portal.at.home)
        cluster = portal.a_cluster()
        script = ROOT / "tests" / "bench" / "fill_ray_jobs.py"
        filled = portal.submit(cluster, f"{sys.executable} {script} {RAY_JOBS}", name="fill")
        assert portal.ended(filled["id"])["state"]["state"] == "succeeded"
        newest = fill_the_portal(filled["id"])
        ours = list_of(portal)
        tell_depth(ours, newest)
        theirs = list_of_ray(cluster["id"])
        tell_rates(ours, theirs)


def fill_the_portal(pk: int) -> int:
    """100,000 ended jobs, copied from a real one and its attempt; answers the newest one's id."""
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = "
            "'jobs_job' AND column_name NOT IN ('id', 'name') ORDER BY 1"
        )
        names = ", ".join(f'"{name}"' for (name,) in cursor.fetchall())
        cursor.execute(
            f"INSERT INTO jobs_job (name, {names}) SELECT 'run ' || number, {names}"
            " FROM jobs_job, generate_series(1, %s) AS number WHERE id = %s ORDER BY number",
            [JOBS, pk],
        )
        cursor.execute("ANALYZE jobs_job")
        cursor.execute("SELECT max(id) FROM jobs_job")
        return int(cursor.fetchone()[0])


def list_of(portal: RunningPortal) -> Ask:
    ask = client(portal.at.url, portal.token)
    return lambda **query: ask(f"/api/v1/jobs?{urlencode({'limit': 50, **query})}")


def list_of_ray(cluster_id: int) -> Ask:
    from apps.clusters import selectors  # noqa: PLC0415

    head = selectors.endpoint(cluster_id)
    assert head is not None
    ask = client(head.address, head.token)
    return lambda: ask("/api/jobs/")


def client(url: str, token: str) -> Callable[[str], bytes]:
    """A connection a thread. The cheapest client: it works on the cores that it measures."""
    at = urlsplit(url)
    assert at.hostname is not None
    host, port, own = at.hostname, at.port, threading.local()

    def ask(path: str) -> bytes:
        if not hasattr(own, "http"):
            own.http = HTTPConnection(host, port, timeout=120.0)
        own.http.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = own.http.getresponse()
        body: bytes = answer.read()
        assert answer.status == HTTPStatus.OK, body[:500]
        return body

    return ask


def tell_depth(ask: Ask, newest: int) -> None:
    """First and deep page in turn, so that what else the machine does hits both alike."""
    from apps.http.paging import _write  # noqa: PLC0415  (a cursor of a page nobody turned to)

    places: dict[str, dict[str, Any]] = {"first": {}, "deep": {"cursor": _write(newest - DEEP)}}
    took: dict[str, list[float]] = {name: [] for name in places}
    for number in range(PAGES + 20):
        for name, query in places.items():
            began_s = time.perf_counter()
            answer = ask(**query)
            if number >= 20:  # the first ones warm up
                took[name].append(1000 * (time.perf_counter() - began_s))
            assert len(json.loads(answer)["items"]) == 50
    p99 = {name: at(0.99, values) for name, values in took.items()}
    p50 = {name: round(statistics.median(values), 2) for name, values in took.items()}
    for name in places:
        tell(f"job_list_{name}_page_p99", p99[name], "ms", p50_ms=p50[name], jobs=JOBS)
    ratio = max(p99.values()) / min(p99.values())
    by_median = round(max(p50.values()) / min(p50.values()), 3)
    tell("job_list_depth_p99_ratio", ratio, "x", limit=1.2, p50_ratio=by_median, pages=PAGES)


def tell_rates(ours: Ask, theirs: Ask) -> None:
    assert len(json.loads(theirs())) >= RAY_JOBS
    pairs = [(rate(ours, PORTAL_S), rate(theirs, RAY_S)) for _ in range(ROUNDS)]
    mine = statistics.median(pair[0] for pair in pairs)
    peer = statistics.median(pair[1] for pair in pairs)
    rays = f"Ray's own list, {RAY_JOBS} jobs"
    tell("job_list_rate", mine, "requests/s", peer=rays, peer_value=round(peer, 3))
    tell("job_list_rate_against_ray", mine / peer, "x", limit=100, rounds=ROUNDS, clients=CLIENTS)


def rate(ask: Ask, for_s: float) -> float:
    """Answers a second; each client asks again as soon as it has its answer."""
    began_s = time.perf_counter()

    def one(_: int) -> int:
        count = 0
        while time.perf_counter() - began_s < for_s:
            ask()
            count += 1
        return count

    with ThreadPoolExecutor(CLIENTS) as pool:
        done: Sequence[int] = list(pool.map(one, range(CLIENTS)))
    return sum(done) / (time.perf_counter() - began_s)


if __name__ == "__main__":
    main()
