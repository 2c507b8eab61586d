"""A whole portal of its own: `regatta up` in a home of its own, and a caller with all rights."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from regatta.cli.portal_api import PortalApi
from regatta.embedded import paths, portal
from regatta.embedded.portal import Portal

ROOT = Path(__file__).parents[2]
WAIT_S = 120.0
ENDED = {"succeeded", "failed", "stopped", "lost"}


def until(true: Callable[[], Any], what: str, within_s: float = WAIT_S) -> Any:
    """The first true answer."""
    deadline_s = time.monotonic() + within_s
    while not (answer := true()):
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.1)
    return answer


@dataclass
class RunningPortal:
    """A portal that runs, its team, and that team's token."""

    at: Portal
    team: str
    token: str
    api: PortalApi

    def pid(self, service: str) -> int:
        """The process of one of its services; 0 while it is being started again."""
        file = paths.run_dir(self.at.home) / f"{service}.pid"
        return int(file.read_text().split()[0]) if file.exists() else 0

    def kill(self, service: str) -> None:
        """End a service and its children at once, as the kernel would for want of memory."""
        victim = psutil.Process(self.pid(service))
        for process in [victim, *victim.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # its parent's end was its own
                process.kill()

    def submit(
        self, cluster: dict[str, Any], entrypoint: str, *, key: str = "", **fields: Any
    ) -> dict[str, Any]:
        """A job accepted by the portal."""
        body = {"name": "test", "cluster_id": cluster["id"], "entrypoint": entrypoint, **fields}
        job: dict[str, Any] = self.api.send("POST", "/jobs", body, key=key)
        return job

    def manage(self, *words: str) -> str:
        """What a management command of the portal prints."""
        return _run(self.at, sys.executable, "manage.py", *words)

    def a_cluster(self, name: str = "local", *, workers: int = 1, cpus: int = 2) -> dict[str, Any]:
        """A real local cluster, ready."""
        body = {"name": name, "provider": "local", "workers": workers, "node": {"cpus": cpus}}
        pk = self.api.send("POST", "/clusters", body)["id"]

        def ready() -> Any:
            now = self.api.get(f"/clusters/{pk}")
            assert now["state"]["state"] != "failed", now
            return now if now["state"]["state"] == "ready" else None

        return until(ready, "the cluster is ready")

    def ended(self, job_id: int) -> dict[str, Any]:
        """The job, once it has ended."""

        def over() -> Any:
            job = self.api.get(f"/jobs/{job_id}")
            return job if job["state"]["state"] in ENDED else None

        return until(over, f"job {job_id} ended")


@contextlib.contextmanager
def a_portal(**extra: str) -> Iterator[RunningPortal]:
    """Started, and stopped with all that it started. extra: of its environment."""
    home = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    at = Portal(home=home, port=_a_free_port())
    environ = _environ(at) | extra
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "regatta.cli", "up", "--port", str(at.port)],
            env=environ,
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        until(
            lambda: process.poll() is None and portal.health(at)[0] == 200, "the portal is ready"
        )
        said = _run(at, *at.command("first_start"), "--json", "--token", "test")
        first = json.loads(said.splitlines()[-1])
        api = PortalApi(at.url, first["token"])
        with api._http:
            yield RunningPortal(at=at, team=first["team"], token=first["token"], api=api)
    finally:
        process.terminate()
        process.wait(WAIT_S)
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(paths.run_dir(home), ignore_errors=True)


def _environ(at: Portal) -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("REGATTA_", "DJANGO_", "RAY_"))
    }
    return kept | {"NO_COLOR": "1", "REGATTA_HOME": str(at.home), "REGATTA_URL": at.url}


def _run(at: Portal, *command: str) -> str:
    ran = subprocess.run(
        command, env=_environ(at), cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout


def _a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
