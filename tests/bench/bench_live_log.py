"""How long a line takes from a real job's `print` to an open page."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator

import httpx
from measure import at, tell
from portals import RunningPortal, a_portal

LINES, EVERY_S = 400, 0.1
SCRIPT = (
    "import time\n"
    f"for number in range({LINES}):\n"
    f"    print('now', time.time(), flush=True); time.sleep({EVERY_S})\n"
)


def main() -> None:
    with a_portal() as portal:
        cluster = portal.a_cluster()
        job = portal.submit(cluster, f'{sys.executable} -c "{SCRIPT}"')
        lags = [1000 * (seen_s - said_s) for said_s, seen_s in lines(portal, job["id"])]
    assert len(lags) == LINES, f"{len(lags)} of {LINES} lines came"
    p50, p99 = round(statistics.median(lags)), round(at(0.99, lags))
    tell("log_line_visible_p95", at(0.95, lags), "ms", limit=2000, p50_ms=p50, p99_ms=p99)


def lines(portal: RunningPortal, job_id: int) -> Iterator[tuple[float, float]]:
    """When each line was printed, and when a client of the stream had it; one clock for both."""
    stream = f"{portal.at.url}/api/v1/jobs/{job_id}/logs/stream"
    headers = {"Authorization": f"Bearer {portal.token}"}
    rest = ""
    with httpx.stream("GET", stream, headers=headers, timeout=60.0, trust_env=False) as answer:
        for line in answer.iter_lines():
            if line == "event: end":
                return
            if line.startswith('data: {"attempt"') and '"text"' in line:
                seen_s = time.time()
                *whole, rest = (rest + json.loads(line.removeprefix("data: "))["text"]).split("\n")
                yield from ((float(x.split()[1]), seen_s) for x in whole if x.startswith("now "))


if __name__ == "__main__":
    main()
