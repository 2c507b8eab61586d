"""The parts of docker-compose.yml as its containers run them: by themselves, with own servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from regatta.embedded import broker, portal, postgres
from regatta.embedded.portal import Portal

ROOT = Path(__file__).parents[2]
WAIT_S = 90.0
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def until(true: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.05)


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    """That of a container: a home, and two servers that are not ours to start."""
    home = tempfile.mkdtemp(prefix="rt-", dir="/tmp")
    with postgres.throwaway() as database, broker.throwaway() as queue:
        yield {
            **os.environ,
            "REGATTA_HOME": home,
            "DATABASE_URL": database,
            "BROKER_URL": queue,
        }
    shutil.rmtree(home, ignore_errors=True)


def command(part: str, port: int = 0) -> list[str]:
    """What docker-compose.yml has the container of `part` execute, on a free port of this host."""
    words = [str(word) for word in COMPOSE["services"][part]["command"]]
    assert words[:3] == ["python", "-m", "regatta.cli"]
    return [sys.executable, *words[1:], *(["--port", str(port)] if port else [])]


def test_the_containers_commands_make_a_portal_that_is_well(environ: dict[str, str]):
    prepared = subprocess.run(command("migrate"), env=environ, cwd=ROOT, check=False)
    assert prepared.returncode == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        at = Portal(home=Path(environ["REGATTA_HOME"]), port=probe.getsockname()[1])
    commands = [command("ticker"), command("worker"), command("web", at.port)]
    parts = [subprocess.Popen(argv, env=environ, cwd=ROOT) for argv in commands]
    try:
        until(lambda: portal.health(at)[0] == 200, "healthy")
        parts_seen = json.loads(portal.health(at)[1])
        assert parts_seen == {"state": "ok", "database": "ok", "broker": "ok", "ticker": "ok"}
        checks = COMPOSE["services"]["ticker"]["healthcheck"]["test"]
        check = [sys.executable, *checks[2:]]
        assert subprocess.run(check, env=environ, cwd=ROOT, check=False).returncode == 0
        for part in parts:
            part.send_signal(signal.SIGTERM)
        assert [part.wait(WAIT_S) for part in parts] == [0, 0, -signal.SIGTERM]
    finally:
        for part in parts:
            part.kill()
            part.wait()
    assert not (at.home / "postgres").exists()


def test_up_starts_no_servers_where_others_are_named(environ: dict[str, str]):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        at = Portal(home=Path(environ["REGATTA_HOME"]), port=probe.getsockname()[1])
    whole = [sys.executable, "-m", "regatta.cli", "up", "--port", str(at.port)]
    process = subprocess.Popen(whole, env=environ, cwd=ROOT)
    try:
        until(lambda: portal.health(at)[0] == 200, "healthy")
        assert not (at.home / "postgres").exists()
        assert not (at.home / "broker").exists()
        process.terminate()
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()


def test_a_part_that_is_not_one_is_refused(environ: dict[str, str]):
    argv = [sys.executable, "-m", "regatta.cli", "up", "--only", "clock"]
    ran = subprocess.run(argv, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "no such part; one of prepare, web, worker, ticker" in ran.stderr


def test_the_containers_never_hold_a_password_of_ours():
    database = COMPOSE["services"]["web"]["environment"]["DATABASE_URL"]
    assert re.search(r":\$\{POSTGRES_PASSWORD:\?[^}]+\}@", database)
    assert COMPOSE["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] == (
        "${POSTGRES_PASSWORD}"
    )


def test_only_the_portal_is_published_and_on_loopback_unless_told_otherwise():
    published = {name: part.get("ports") for name, part in COMPOSE["services"].items()}
    assert published.pop("ticker") == ["${REGATTA_LISTEN:-127.0.0.1:8000}:8000"]
    assert set(published.values()) == {None}
    assert COMPOSE["networks"]["data"] == {"internal": True}


def test_everything_that_stays_has_a_health_check():
    stays = {name for name in COMPOSE["services"] if name != "migrate"}
    assert {name for name in stays if "healthcheck" in COMPOSE["services"][name]} == stays
