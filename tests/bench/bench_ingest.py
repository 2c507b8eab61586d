"""How many metric points a second one web process takes in, durably, from several processes.

Prints one line of JSON: the median over rounds, each of which sends the same number of points in
batches as a job's process makes them, and then counts what the database holds.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(ROOT / "tests" / "factories")]

import django  # noqa: E402

from regatta.embedded import broker, processes  # noqa: E402
from regatta.embedded.portal import Portal as PortalProcesses  # noqa: E402
from regatta.embedded.portal import health  # noqa: E402
from regatta.embedded.postgres import Postgres  # noqa: E402
from regatta.telemetry.batch import BATCH_POINTS, Point, encode  # noqa: E402
from regatta.telemetry.portal import Portal  # noqa: E402

ROUNDS = 5
STREAMS = 4
BATCHES = 25  # a stream and a round


def main() -> None:
    with running_portal() as url:
        from metrics import an_attempt  # noqa: PLC0415  (needs the settings)

        from apps.insights.models import MetricPoint  # noqa: PLC0415
        from apps.jobs import selectors  # noqa: PLC0415

        attempt = an_attempt()
        token = selectors.telemetry_token(attempt)
        one_round(url, token, batches=2)  # the server's first requests load what they need
        before, took = MetricPoint.objects.count(), []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            one_round(url, token, batches=BATCHES)
            took.append(time.perf_counter() - began)
        stored = MetricPoint.objects.count() - before
    points = STREAMS * BATCHES * BATCH_POINTS
    rates = [points / seconds for seconds in took]
    told = {
        "bench": "telemetry_ingest",
        "samples_per_s": round(statistics.median(rates)),
        "slowest_round": round(min(rates)),
        "sent": points * ROUNDS,
        "lost": points * ROUNDS - stored,
        "streams": STREAMS,
        "rounds": ROUNDS,
        "wanted": 20_000,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.exit(0 if told["lost"] == 0 else 1)


def one_round(url: str, token: str, *, batches: int) -> None:
    with ThreadPoolExecutor(STREAMS) as pool:
        for done in [
            pool.submit(one_stream, url, token, rank, batches) for rank in range(STREAMS)
        ]:
            done.result()


def one_stream(url: str, token: str, rank: int, batches: int) -> None:
    """What a job's process does: pack, send, wait for the answer."""
    portal, stream = Portal(url=url, token=token), str(uuid4())
    for seq in range(1, batches + 1):
        portal.send(encode(a_second_s_points(seq), stream=stream, seq=seq, rank=rank, dropped=0))


def a_second_s_points(seq: int) -> list[Point]:
    keys, now = ("loss", "step_s", "tokens_per_s", "learning_rate", "grad_norm"), time.time()
    steps = range(seq * BATCH_POINTS // len(keys), (seq + 1) * BATCH_POINTS // len(keys))
    return [(key, step, 1.0 / step, now) for step in steps for key in keys]


@contextmanager
def running_portal() -> Iterator[str]:
    """A durable PostgreSQL and one web process, as `regatta up` starts them."""
    home = Path(tempfile.mkdtemp(prefix="regatta-bench-", dir="/tmp"))
    server, log = Postgres(data=home / "data", sockets=home / "run"), home / "log"
    server.prepare()
    try:
        with processes.leashed(server.command(), folder=home / "run", stop="INT", log=log):
            processes.wait_until(server.ready, what="PostgreSQL", within_s=30, log=log)
            os.environ |= {"REGATTA_HOME": str(home), "DATABASE_URL": server.url()}
            os.environ |= {"DJANGO_SETTINGS_MODULE": "apps.config.settings"}
            with broker.throwaway() as os.environ["BROKER_URL"]:
                django.setup()
                yield from _web(PortalProcesses(home=home, port=_free_port()), log)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _web(portal: PortalProcesses, log: Path) -> Iterator[str]:
    how = {"cwd": ROOT, "env": portal.environ()}
    subprocess.run(portal.command("prepare"), check=True, timeout=120, **how)
    with log.open("ab") as out, subprocess.Popen(portal.command("web"), stderr=out, **how) as web:
        try:
            up = "the web process"
            processes.wait_until(lambda: health(portal)[0] > 0, what=up, within_s=30, log=log)
            yield portal.url
        finally:
            web.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
