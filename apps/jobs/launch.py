"""All that a cluster must be told to start an attempt, put together at the last moment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.accounts import vault
from apps.clusters import selectors as clusters
from apps.jobs import selectors
from apps.jobs.models import Attempt, Job
from apps.jobs.packages import name_of
from regatta.lifecycle.attempt import Launch

_EARLIER = 20  # attempts whose outputs a later one is told of


class InputMissing(Exception):
    """A package or a secret that the job names is not there any more."""


def launch_of(attempt: Attempt) -> Launch:
    """All that the cluster must be told, with secrets opened at the last moment.

    Raises: InputMissing.
    """
    job, handle = attempt.job, attempt.handle
    runtime_env = {key: value for key, value in job.runtime_env.items() if key != "env_vars"}
    if job.package:
        runtime_env["working_dir"] = f"gcs://{job.package.name}"
    runtime_env, packages = _brought(job, runtime_env)
    runtime_env["env_vars"] = {**job.env, **_secrets(job), **_ours(attempt), **_rays(job)}
    return Launch(
        handle=handle,
        entrypoint=job.entrypoint,
        runtime_env=runtime_env,
        metadata={
            **job.metadata,
            "regatta_attempt": handle,
            "regatta_created_at": attempt.created_at.isoformat(),
        },
        entrypoint_resources=job.entrypoint_resources,
        packages=packages,
    )


def _secrets(job: Job) -> dict[str, str]:
    values = selectors.secret_values(job)
    if missing := sorted(set(job.secret_env.values()) - set(values)):
        raise InputMissing(f"secret {missing[0]}")
    return {variable: values[name] for variable, name in job.secret_env.items()}


def keep_for_masks(attempt: Attempt, launch: Launch) -> None:
    """Seal the secrets before they can be written to a log: they may change while it runs."""
    variables = launch.runtime_env["env_vars"]
    used = selectors.values_used(attempt)  # an earlier try to start may have had others
    if new := {variables[name] for name in attempt.job.secret_env} - used:
        sealed = vault.seal(json.dumps(sorted(used | new)))
        Attempt.objects.filter(pk=attempt.pk, log__ending="").update(sealed_secrets=sealed)


def _ours(attempt: Attempt) -> dict[str, str]:
    """What tells the job who it is, and where its telemetry and its files go."""
    outputs = Path(settings.REGATTA_HOME) / "outputs" / attempt.handle
    outputs.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    outputs.mkdir(exist_ok=True)
    tried = range(attempt.number - 1, max(0, attempt.number - 1 - _EARLIER), -1)
    earlier = [str(outputs.with_name(f"job-{attempt.job_id}-a{number}")) for number in tried]
    return {
        "REGATTA_URL": settings.REGATTA_URL,
        "REGATTA_TELEMETRY_TOKEN": selectors.telemetry_token(attempt),
        "REGATTA_JOB_ID": str(attempt.job_id),
        "REGATTA_ATTEMPT": str(attempt.number),
        "REGATTA_OUTPUT_DIR": str(outputs),
        "REGATTA_EARLIER_OUTPUT_DIRS": os.pathsep.join(earlier),  # to go on from, newest first
    }


def _rays(job: Job) -> dict[str, str]:
    """Which head to ask: on a machine with several clusters Ray's own search finds too many."""
    found = clusters.endpoint(job.cluster_id)
    return {"RAY_API_SERVER_ADDRESS": found.address} if found else {}


def _brought(job: Job, runtime_env: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Path]]:
    """The environment by the names that a cluster shall know packages by, and their files.

    A zip file is named by its content there: a cluster keeps what a name once stood for, though
    the package was deleted and another came by its name.
    Raises: InputMissing.
    """
    names = selectors.packages_named(runtime_env)
    kept = {package.name: package.sha256 for package in selectors.packages_by_name(job, names)}
    if job.package and kept.get(job.package.name) != job.package.sha256:
        raise InputMissing(f"package {job.package.name}")
    try:
        there = {name: name_of(kept[name]) if name.endswith(".zip") else name for name in names}
        files = {there[name]: selectors.store().local_path(kept[name]) for name in names}
    except (KeyError, FileNotFoundError) as error:
        raise InputMissing(f"package {error}") from error
    uris = {f"gcs://{name}": f"gcs://{known}" for name, known in there.items()}
    said = dict(runtime_env)
    if said.get("working_dir") in uris:
        said["working_dir"] = uris[said["working_dir"]]
    if modules := said.get("py_modules"):
        said["py_modules"] = [uris.get(str(uri), uri) for uri in modules]
    return said, files
