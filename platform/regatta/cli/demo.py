"""`regatta demo`: the whole way, from nothing running to a trained model, by the REST API."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from rich.console import Console

from regatta.cli.demo_view import Training, summary
from regatta.cli.portal_api import ApiTrouble, PortalApi
from regatta.embedded import paths, portal
from regatta.embedded.portal import Portal
from regatta.embedded.processes import dying_with_parent, tail
from regatta.lifecycle.attempt import TERMINAL

_PORT = 8000
_LOOK_S = 0.5
_PORTAL_S, _CLUSTER_S, _JOB_S, _LOG_S = 120.0, 360.0, 900.0, 60.0
_STOP_S = 60.0  # a busy Ray node takes up to 30 s to leave
_ENTRYPOINT = "python -m regatta.training.main_job"
_MOST_LOSS = 2.6  # a model that knows only which letters are frequent stays above
_TIME_IS_UP = r"\bthe time of (\S+) s is up: ended after step (\d+) of (\d+)"  # as the job says
_NAME, _JOB_NAME = "demo", "Main job"


class StageFailed(Exception):
    """A stage of the demonstration, and why it did not succeed."""

    def __init__(self, stage: str, why: str) -> None:
        super().__init__(f"{stage}: {why}")
        self.stage, self.why = stage, why


@dataclass(frozen=True, slots=True)
class Running:
    """The portal that this demonstration started, and a way to speak to it."""

    at: Portal
    process: subprocess.Popen[bytes]
    team: str
    api: PortalApi

    def page(self, path: str) -> str:
        """The address of a page of the team."""
        return f"{self.at.url}/t/{self.team}/{path}"

    def wait(self, stage: str, done: Callable[[], Any], *, within_s: float) -> Any:
        """Ask until there is an answer. Raises: StageFailed."""
        deadline_s = time.monotonic() + within_s
        while not (answer := done()):
            if self.process.poll() is not None:
                raise StageFailed("portal", f"it ended:\n{_log_tail(self.at)}")
            if time.monotonic() > deadline_s:
                raise StageFailed(stage, f"not done after {within_s:g} s")
            time.sleep(_LOOK_S)
        return answer


def run(*, host: str, port: int, leave: bool) -> int:
    """The whole demonstration; answers the exit code."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, _as_interrupt)
    done = False
    try:
        with _portal(console, host=host, port=port) as running:
            _train(console, running)
            done = True
            if not leave:
                console.print("\nThe portal goes on serving. Ctrl-C stops it.")
                running.process.wait()
                raise StageFailed("portal", f"it ended:\n{_log_tail(running.at)}")
    except StageFailed as error:
        console.print(f"The {error.stage} failed: {error.why}", style="red")
        return 1
    except KeyboardInterrupt:
        return 0 if done else 1
    return 0


@contextlib.contextmanager
def _stage(name: str) -> Iterator[None]:
    """Trouble with the portal is that of the stage which asked it. Raises: StageFailed."""
    try:
        yield
    except ApiTrouble as error:
        raise StageFailed(name, str(error)) from error


def _train(console: Console, running: Running) -> None:
    with _stage("cluster"):
        cluster = _cluster(console, running)
    with _stage("submission"):
        job = _submit(console, running, cluster)
        page = running.page(f"jobs/{job['id']}/")
        console.print(f"Job submitted      {page}")
    with _stage("job"):
        ended, took_s = _watch(console, running, job["id"])
    with _stage("log"):
        log = running.wait("log", lambda: _whole_log(running, job["id"]), within_s=_LOG_S)
    if ended["state"]["state"] != "succeeded":
        why = ended["state"]["message"] or ended["state"]["reason"]
        raise StageFailed("job", f"{ended['state']['state']}, {why}\n{_last_lines(log)}")
    links = {
        "Job": page,
        "Cluster": running.page(f"clusters/{cluster['id']}/"),
        "Costs": running.page("costs/"),
        "Dashboards": running.page("insights/"),
    }
    said = _said(log)
    summary(console, said=said, took_s=took_s, cost_usd=ended["cost_usd"], links=links)
    _check_loss(said)


def _check_loss(said: Mapping[str, str]) -> None:
    """Raises: StageFailed when the model has not learned, or did not say so."""
    try:
        learned = float(said.get("final loss", "")) < _MOST_LOSS
    except ValueError:
        raise StageFailed("training", "the job did not write its final loss") from None
    if not learned:
        why = f"the final loss is {said['final loss']}, which is not below {_MOST_LOSS}"
        raise StageFailed("training", why)


def _submit(console: Console, running: Running, cluster: dict[str, Any]) -> dict[str, Any]:
    _stop_earlier(console, running, cluster)
    body = {
        "name": _JOB_NAME,
        "cluster_id": cluster["id"],
        "entrypoint": _ENTRYPOINT,
        "resources": {"cpus": 2},
    }
    job: dict[str, Any] = running.api.send("POST", "/jobs", body, key=secrets.token_hex(16))
    return job


def _cluster(console: Console, running: Running) -> dict[str, Any]:
    """The team's demo cluster, ready: the one that is there, else a new one."""
    began_s = time.monotonic()
    there = [c for c in running.api.get("/clusters")["items"] if c["name"] == _NAME]
    if there:
        cluster = there[0]
        wish = {"desired": "running"}
        cluster = running.api.send("PUT", f"/clusters/{cluster['id']}/desired-state", wish)
    else:
        body = {"name": _NAME, "provider": "local", "workers": 2, "node": {"cpus": 1}}
        cluster = running.api.send("POST", "/clusters", body, key=secrets.token_hex(16))
    asked_at = cluster["state"]["generation"]  # one that failed before is now tried again

    def ready() -> dict[str, Any] | None:
        now: dict[str, Any] = running.api.get(f"/clusters/{cluster['id']}")
        state = now["state"]
        if state["state"] == "failed" and state["generation"] > asked_at:
            said = state["message"] or state["reason"]
            raise StageFailed("cluster", f"{said}\n{_last_words(running, now)}".strip())
        return now if state["state"] == "ready" else None

    with console.status("Starting the cluster: one head and two workers"):
        found: dict[str, Any] = running.wait("cluster", ready, within_s=_CLUSTER_S)
    took_s = time.monotonic() - began_s
    page = running.page(f"clusters/{found['id']}/")
    console.print(f"Cluster ready      {page}  (after {took_s:.1f} s)")
    return found


def _last_words(running: Running, cluster: dict[str, Any]) -> str:
    """What the nodes of a cluster that failed wrote last, as the event of its failure tells."""
    [event, *_] = running.api.get(f"/clusters/{cluster['id']}/events", limit=1)["items"]
    return str(event["quote"])


def _stop_earlier(console: Console, running: Running, cluster: dict[str, Any]) -> None:
    """Ask for the end of what a demonstration that was killed left; the new job would wait."""
    jobs = running.api.get("/jobs", cluster_id=cluster["id"], q=_JOB_NAME)["items"]
    for job in jobs:
        if job["state"]["state"] not in TERMINAL:
            wish = {"desired": "stopped"}
            running.api.send("PUT", f"/jobs/{job['id']}/desired-state", wish)
            console.print(f"Stopping an earlier, unfinished job: {job['id']}")


def _watch(console: Console, running: Running, job_id: int) -> tuple[dict[str, Any], float]:
    """Follow the job to its end; answers it and how long it took, in seconds."""
    began_s = time.monotonic()
    with Training(console) as training:

        def ended() -> dict[str, Any] | None:
            job: dict[str, Any] = running.api.get(f"/jobs/{job_id}")
            training.show(job)
            return job if job["state"]["state"] in TERMINAL else None

        job = running.wait("job", ended, within_s=_JOB_S)
    return job, time.monotonic() - began_s


@contextlib.contextmanager
def _portal(console: Console, *, host: str, port: int) -> Iterator[Running]:
    """A portal of our own, which ends with us."""
    at = Portal(home=paths.home(), host=host, port=port or _free_port(console, host))
    began_s = time.monotonic()
    at.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    address = ("--host", at.host, "--port", str(at.port))
    with _log(at).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "regatta.cli", "up", *address],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop it
            preexec_fn=dying_with_parent(signal.SIGTERM),
        )
    try:
        with console.status("Starting the portal"):
            _until_ready(at, process)
        took_s = time.monotonic() - began_s
        console.print(f"Portal ready       {at.url}  (after {took_s:.1f} s, log: {_log(at)})")
        first = _first_start(at)
        console.print(f"Sign in, once      {first['link']}")
        api = PortalApi(at.url, first["token"])
        yield Running(at=at, process=process, team=first["team"], api=api)
    finally:
        _stop(console, process)


def _until_ready(at: Portal, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + _PORTAL_S
    while (answer := portal.health(at))[0] != 200:
        if process.poll() is not None:
            raise StageFailed("portal", f"it ended with {process.returncode}:\n{_log_tail(at)}")
        if time.monotonic() > deadline_s:
            raise StageFailed("portal", f"not ready: {answer[1]}\n{_log_tail(at)}")
        time.sleep(0.1)


def _first_start(at: Portal) -> dict[str, str]:
    try:
        ran = subprocess.run(
            [*at.command("first_start"), "--json", "--token", "demo"],
            env=at.environ(),
            cwd=paths.project_root(),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        said: dict[str, str] = json.loads(ran.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, LookupError, ValueError) as error:
        raise StageFailed("first sign-in", getattr(error, "stderr", None) or str(error)) from error
    return said


def _free_port(console: Console, host: str) -> int:
    if portal.port_is_free(host, _PORT):
        return _PORT
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        free: int = probe.getsockname()[1]
    console.print(f"Port {_PORT} is taken by another program; using {free}.")
    return free


def _stop(console: Console, process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with console.status("Stopping everything"):
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    console.print("Everything that was started has been stopped.")


def _said(log: str) -> dict[str, str]:
    """What the job itself wrote of its outcome, by the words before the colon."""
    words = "first loss|final loss|sample"
    said = {key: value.strip() for key, value in re.findall(rf"\b({words}): (.*)", log)}
    for steps, seconds in re.findall(r"\btrained: (\d+) steps in ([\d.]+) s", log):
        said["trained"] = f"{steps} steps in {float(seconds):.0f} s"
    for seconds, step, steps in re.findall(_TIME_IS_UP, log):
        said["cut"] = f"the {seconds} s for training were up after {step} of {steps} steps"
    return said


def _whole_log(running: Running, job_id: int) -> str:
    text, complete = running.api.log(job_id)
    return text if complete else ""


def _last_lines(log: str) -> str:
    return "\n".join(log.splitlines()[-15:])


def _log(at: Portal) -> Any:
    return at.home / "portal.log"


def _log_tail(at: Portal) -> str:
    return tail(_log(at), lines=30)


def _as_interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
