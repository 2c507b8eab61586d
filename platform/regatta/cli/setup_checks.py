"""Whether this machine and this installation can run the portal."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from regatta.embedded import paths, portal
from regatta.embedded.broker import Broker
from regatta.embedded.portal import Portal
from regatta.embedded.postgres import Postgres
from regatta.health.finding import Finding

_LEAST_PYTHON = (3, 11)
_GIB = 1 << 30
_LEAST_DISK_BYTES, _GOOD_DISK_BYTES = _GIB, 5 * _GIB
_GOOD_MEMORY_BYTES = 4 * _GIB  # the portal, and a Ray head with two workers
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)")


def findings(at: Portal) -> Iterator[Finding]:
    """All that can be told without the database."""
    yield from _python()
    yield from _versions(paths.project_root() / "requirements.lock")
    yield from _disk(at.home)
    yield from _memory()
    yield from _run_folder(at.home)
    yield from _answers(at)


def _python() -> Iterator[Finding]:
    if tuple(sys.version_info[:2]) < _LEAST_PYTHON:
        have = ".".join(map(str, sys.version_info[:3]))
        advice = "Set up again: make clean; make setup PYTHON=python3.11"
        yield Finding("python", "error", f"Python is {have}; 3.11 or later is needed", advice)


def _versions(lock: Path) -> Iterator[Finding]:
    """Every installed package that the lock names has the version that it names."""
    if not lock.exists():
        return
    pins = [match for line in lock.read_text().splitlines() if (match := _PIN.match(line))]
    others = [
        f"{name} {have} instead of {pinned}"
        for name, pinned in (pin.groups() for pin in pins)
        if (have := _installed(name)) and have.split("+")[0] != pinned.split("+")[0]
    ]
    if others:
        what = f"Installed versions differ from the lock: {', '.join(others[:5])}"
        yield Finding("versions", "warning", what, "Run: make -B setup")


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _disk(home: Path) -> Iterator[Finding]:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < _GOOD_DISK_BYTES:
        severity = "error" if free < _LEAST_DISK_BYTES else "warning"
        what = f"{free / _GIB:.1f} GiB are free at {there}; logs, checkpoints and models go there"
        yield Finding("disk", severity, what, "Make room, or set REGATTA_HOME to a larger disk.")


def _memory() -> Iterator[Finding]:
    free = psutil.virtual_memory().available
    if free < _GOOD_MEMORY_BYTES:
        what = f"{free / _GIB:.1f} GiB of memory are free; a small local cluster needs about 2"
        yield Finding("memory", "warning", what, "End other programs, or use fewer workers.")


def _run_folder(home: Path) -> Iterator[Finding]:
    try:
        paths.run_dir(home)
    except paths.ForeignFolder as error:
        advice = "Who can enter it can enter the database. Nothing starts before that is mended."
        yield Finding("run_folder", "error", str(error), advice)
        return
    if home.exists() and not os.access(home, os.W_OK | os.X_OK):
        what = f"{home} cannot be written by user {os.getuid()}"
        yield Finding("home", "error", what, "Give it to this user, or set REGATTA_HOME.")


def _answers(at: Portal) -> Iterator[Finding]:
    """The portal and its servers, as far as they should run."""
    running = portal.holder(at)
    if running:
        status, said = portal.health(running)
        if status != 200:
            advice = "Its log says why; regatta up starts it again."
            yield Finding("portal", "error", f"{running.url}/healthz: {status} {said}", advice)
    elif not portal.port_is_free(at.host, at.port):
        advice = "End it, or start with --port, or set another one for the demonstration."
        what = f"Port {at.port} of {at.host} is taken by another program"
        yield Finding("port", "warning", what, advice)
    if running:
        yield from _servers(at.home)


def _servers(home: Path) -> Iterator[Finding]:
    sockets, run = paths.postgres_dir(home), paths.run_dir(home)
    embedded: dict[str, Postgres | Broker] = {
        "DATABASE_URL": Postgres(data=home / "postgres", sockets=sockets),
        "BROKER_URL": Broker(data=home / "broker", socket=run / "broker.sock"),
    }
    for variable, server in embedded.items():
        if not portal.is_set(variable) and not server.ready():
            kind = type(server).__name__
            advice = "regatta up starts it again by itself; if not, its log says why."
            yield Finding(kind.lower(), "error", f"The embedded {kind} does not answer", advice)
