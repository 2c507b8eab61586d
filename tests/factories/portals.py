"""A whole portal in processes of its own, as its user would start it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from regatta.cli.portal_api import PortalApi
from regatta.embedded import paths
from regatta.embedded.portal import Portal, health
from regatta.embedded.processes import tail

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class RunningPortal:
    """A portal that answers; `api` speaks to its first team."""

    at: Portal
    process: subprocess.Popen
    api: PortalApi
    team: str
    token: str
    link: str

    def pid(self, name: str) -> int:
        """The process of one of its services."""
        return int((paths.run_dir(self.at.home) / f"{name}.pid").read_text().split()[0])

    def kill(self, name: str) -> None:
        """End a service and its children at once, as the kernel would for want of memory."""
        victim = psutil.Process(self.pid(name))
        for process in [*victim.children(recursive=True), victim]:
            process.kill()

    def cluster(self, *, workers=1, cpus=2, name="test", within_s=180, **node):
        """A new local cluster of the team, ready."""
        body = {"name": name, "provider": "local", "workers": workers}
        cluster = self.api.send("POST", "/clusters", body | {"node": {"cpus": cpus, **node}})
        return until(
            lambda: self.api.get(f"/clusters/{cluster['id']}"),
            lambda now: now["state"]["state"] == "ready",
            within_s=within_s,
        )

    def submit(self, cluster, entrypoint, *, key="", **fields):
        body = {"name": "test", "cluster_id": cluster["id"], "entrypoint": entrypoint}
        return self.api.send("POST", "/jobs", body | fields, key=key)

    def ended(self, job, *, within_s=180):
        """The job once it has ended, however it did."""
        return until(
            lambda: self.api.get(f"/jobs/{job['id']}"),
            lambda now: now["state"]["state"] in {"succeeded", "failed", "stopped", "lost"},
            within_s=within_s,
        )


@contextmanager
def a_portal(home: Path, **environ: str) -> Iterator[RunningPortal]:
    """Start `regatta up` on a home and a free port; everything ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    at = Portal(home=home, port=port)
    ours = os.environ | {"REGATTA_HOME": str(home), "REGATTA_URL": at.url} | environ
    log = home.parent / f"{home.name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "regatta.cli", "up", "--port", str(port)],
            cwd=ROOT,
            env=ours,
            stdout=out,
            stderr=out,
        )
    try:
        until(lambda: health(at)[0], lambda code: code == 200, within_s=90, log=log)
        said = json.loads(
            subprocess.check_output(
                [sys.executable, "manage.py", "first_start", "--json", "--token", "test"],
                cwd=ROOT,
                env=ours,
            )
        )
        api = PortalApi(at.url, said["token"])
        yield RunningPortal(at, process, api, said["team"], said["token"], said["link"])
    except BaseException:
        print(tail(log, lines=60))  # noqa: T201  (pytest shows it with the failure)
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()


def until(look, good, *, within_s, log=None):
    """What `look` sees once it is `good`."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if good(seen):
            return seen
        assert time.monotonic() < deadline, f"still {seen} {tail(log) if log else ''}"
        time.sleep(0.2)
