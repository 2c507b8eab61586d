"""`regatta up`: the portal with all it needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from regatta.embedded import paths, portal
from regatta.embedded.portal import Portal, Refused
from regatta.embedded.processes import DidNotStart
from regatta.embedded.supervisor import Failed, Lines
from regatta.providers import local

_ALONE = ("prepare", "web", "worker", "ticker")


def run(*, host: str, port: int, keep_clusters: bool, only: str) -> int:
    """Serve until told to stop; answers the exit code."""
    ours = Portal(home=paths.home(), host=host, port=port)
    if only:
        return _one_part(ours, only)
    lines = Lines()
    try:
        portal.serve(ours, lines=lines, at_stop=_at_stop(ours, lines, keep=keep_clusters))
    except (Refused, Failed, DidNotStart, paths.ForeignFolder) as error:
        lines.say("regatta", str(error))
        return 1
    return 0


def _at_stop(ours: Portal, lines: Lines, *, keep: bool) -> Callable[[], None]:
    def end_clusters() -> None:
        if not keep and (ended := local.end_all(ours.home)):
            lines.say("regatta", f"ended {ended} processes of local clusters")

    return end_clusters


def _one_part(ours: Portal, name: str) -> int:
    """Become one process of the portal; the environment says where its servers are."""
    os.chdir(paths.project_root())
    if name not in _ALONE:
        sys.stderr.write(f"--only {name}: no such part; one of {', '.join(_ALONE)}\n")
        return 2
    argv = ours.command(name)
    os.execve(argv[0], argv, ours.environ())
