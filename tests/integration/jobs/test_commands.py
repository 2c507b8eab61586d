"""A copied command submits the very job it was copied from."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from apps.jobs import commands
from apps.jobs.models import Job

PLAIN = ["python main.py --steps=5", "python -m regatta.training.main_job"]
FOR_A_SHELL = [
    "echo a && echo b",
    "echo a; echo b",
    "echo a;",
    "for i in 1 2; do echo $i; done",
    """x='a b'; echo "$x" '$x'""",
    r"""printf '%s|' '\\' \\ "\\" "\"" a\ b""",
    r"""x=1; echo \$x \\$x "\$x" `echo c`""",
    "true\necho b",
    "echo|cat",
    "echo a | cat > /dev/stdout",
]


def words(entrypoint):
    """What Ray's command is given after `--`, by the user's own shell."""
    shown = commands.as_ray(Job(entrypoint=entrypoint), address="https://portal")
    given = shlex.split(shown)
    return given[given.index("--") + 1 :]


def output(command):
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, check=False)
    return done.stdout, done.returncode


@pytest.mark.parametrize("entrypoint", PLAIN)
def test_a_plain_command_is_shown_as_it_is(entrypoint):
    assert words(entrypoint) == shlex.split(entrypoint)


@pytest.mark.parametrize("entrypoint", FOR_A_SHELL)
def test_what_a_shell_would_part_is_run_by_the_cluster_alone(entrypoint):
    given = words(entrypoint)
    assert given[:2] == ["bash", "-c"]
    assert len(given) == 3
    assert output(subprocess.list2cmdline(given)) == output(entrypoint)  # as Ray joins them
