"""A job as the command that would submit it, and as the values of the form. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from apps.jobs.spec import PLAN_VARIABLE, SECRET_MARK

if TYPE_CHECKING:
    from apps.jobs.models import Job

_GIB = 1 << 30
_SHELL = re.compile(r"[^\w ./:=,@%+-]")  # what a shell may take for more than a part of a word
SAMPLE: Mapping[str, Any] = {
    "what": "command",
    "name": "main-job",
    "entrypoint": "python -m regatta.training.main_job",
    "cpus": "2",
    "script": "",
    "env": "",
}


def as_curl(job: Job, *, address: str) -> str:
    """The request to the REST API that asks for the same job."""
    body: dict[str, Any] = {
        "name": job.name,
        "cluster_id": job.cluster_id,
        "entrypoint": job.entrypoint,
        "package": job.package.name if job.package else "",
        "env": job.env,
        "secret_env": job.secret_env,
        "runtime_env": job.runtime_env,
        "metadata": job.metadata,
        "resources": {
            "cpus": float(job.cpus),  # also when it is nothing: left out it would be one
            **_without_nothing(
                {"memory_bytes": job.memory_bytes, "chip": job.chip, "chips": job.chips}
            ),
        },
        "priority": job.priority,
        "retries": job.retries,
    }
    data = shlex.quote(json.dumps(_without_nothing(body), indent=2))
    return (
        f"curl -X POST {address}/api/v1/jobs \\\n"
        '  -H "Authorization: Bearer $REGATTA_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {data}"
    )


def as_ray(job: Job, *, address: str) -> str:
    """The same by Ray's own command."""
    words = [
        "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$REGATTA_TOKEN ray job submit",
        f"--address {address}",
    ]
    if job.package:
        words.append("--working-dir .")
    named = {name: f"{SECRET_MARK}{secret}" for name, secret in job.secret_env.items()}
    if env := {**job.env, **named}:
        words.append("--runtime-env-json " + shlex.quote(json.dumps({"env_vars": env})))
    return " \\\n  ".join([*words, f"-- {_for_ray(job.entrypoint)}"])


def form_values(job: Job) -> dict[str, Any]:
    """What the form shows to ask for the same job again."""
    env = [f"{name}={value}" for name, value in job.env.items() if name != PLAN_VARIABLE]
    env += [f"{name}={SECRET_MARK}{value}" for name, value in job.secret_env.items()]
    return {
        "name": job.name,
        "cluster": job.cluster_id,
        "what": "package" if job.package else "command",
        "entrypoint": job.entrypoint,
        "env": "\n".join(env),
        "plan": job.env.get(PLAN_VARIABLE, ""),
        "cpus": f"{job.cpus.normalize():f}",
        "memory_gib": Decimal(job.memory_bytes) / _GIB if job.memory_bytes else None,
        "chip": job.chip,
        "chips": job.chips or None,
        "priority": job.priority,
        "retries": job.retries,
    }


def demand_of(values: Mapping[str, str]) -> dict[str, Decimal]:
    """What half-typed values of the form ask of a cluster; what is no number asks for nothing."""
    chips = _amount(values.get("chips", ""))
    named = {f"chip:{values['chip']}": chips} if values.get("chip") and chips else {}
    memory = _amount(values.get("memory_gib", "")) * _GIB
    cpus = _amount(values.get("cpus", ""))
    return {"cpus": cpus, "memory_bytes": memory, "chips": chips, **named}


def _for_ray(entrypoint: str) -> str:
    """The words from which Ray's command makes the entrypoint.

    It joins them by `list2cmdline`, which puts words with spaces in double quotes and escapes
    double quotes alone: the rest of what a shell reads within these is escaped here.
    """
    if not _SHELL.search(entrypoint):
        return entrypoint
    text = entrypoint if " " in entrypoint else f"{entrypoint} "
    text = re.sub(r'\\+(?!\\|"|\Z)', lambda run: run[0] * 2, text)
    return "bash -c " + shlex.quote(re.sub(r"[$`]", r"\\\g<0>", text))


def _without_nothing(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value}


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text or "0")
    except InvalidOperation:
        return Decimal(0)
    return amount if amount.is_finite() and 0 <= amount < 1 << 40 else Decimal(0)
