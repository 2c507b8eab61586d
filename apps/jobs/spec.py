"""What is asked of a job, and whether it can be asked: every rule that needs no other table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from apps.http.problems import Refused
from apps.jobs.models import ENTRYPOINT_CHARS, NAME_CHARS, PRIORITY_MOST, RETRIES_MOST
from regatta.rayjobs.names import is_readable, plain

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
RAY_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}")
_OURS = re.compile(r"job-[0-9]+(-a[0-9]+)?")
PLAN_VARIABLE = "REGATTA_PLAN"  # by what a job runs: JSON as regatta.planning.document writes it
SECRET_MARK = "secret:"  # as an environment variable's value, it names a secret
ENV_BYTES, SCRIPT_BYTES, DOCUMENT_BYTES = 256 << 10, 1 << 20, 64 << 10
CPUS_MOST, CHIPS_MOST, MEMORY_MOST = Decimal(100_000), 100_000, 1 << 60
RAYS_LEAST = 0.0001  # of any resource
RUNTIME_ENV_KEYS = frozenset(
    {"working_dir", "py_modules", "py_executable", "pip", "uv", "conda", "excludes", "config"}
    | {"worker_process_setup_hook"}
)
# With these a job would talk to another cluster than its own, or to none: Ray then never says
# that it failed to start.
_CLUSTERS_OWN = frozenset({"RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"})
_RAYS_OWN = frozenset({"_ray_commit", "_inject_current_ray"})  # which its clients add


# What Ray itself refuses only while it starts the job, where it looks like a lost cluster.
_SHAPES: Mapping[str, type | tuple[type, ...]] = {
    "working_dir": str,
    "py_modules": list,
    "pip": (str, list, dict),
    "uv": (str, list, dict),
    "conda": (str, dict),
    "config": dict,
}
_REMOTE = re.compile(r"(gcs|https|s3|gs|azure|abfss)://")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job as it is asked for; `services.submit_job` makes it one.

    package: the name of an uploaded one. script: Python source instead, which becomes a package
    of one file, `main.py`. cpus, memory_bytes, chips: of the whole job, by which it queues.
    """

    cluster_id: int
    name: str = ""
    entrypoint: str = ""
    package: str = ""
    script: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, str] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    entrypoint_resources: Mapping[str, Any] = field(default_factory=dict)
    cpus: Decimal = Decimal(1)
    memory_bytes: int = 0
    chip: str = ""
    chips: int = 0
    priority: int = 0
    retries: int = 0
    ray_id: str = ""


def split_env(env: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Environment variables as text, and those whose value `secret:name` names a secret."""
    marked = {name for name, value in env.items() if value.startswith(SECRET_MARK)}
    plain = {name: value for name, value in env.items() if name not in marked}
    return plain, {name: env[name].removeprefix(SECRET_MARK).strip() for name in marked}


def check(spec: JobSpec) -> None:
    """Refuse what no cluster could make a job of.

    Raises: Refused, with the field at fault.
    """
    _check_words(spec)
    _check_env(spec)
    _check_numbers(spec)
    _check_runtime_env(spec.runtime_env)
    if spec.ray_id and (not RAY_ID.fullmatch(spec.ray_id) or _OURS.fullmatch(spec.ray_id)):
        raise Refused(
            "bad_submission_id",
            _(
                "A submission id has up to 200 letters, digits, '_', '-', '.', ':', and does not "
                "look like the portal's own (job-7)."
            ),
            pointer="/submission_id",
        )


def _check_words(spec: JobSpec) -> None:
    if not is_readable(plain(spec.entrypoint)) or len(spec.entrypoint) > ENTRYPOINT_CHARS:
        raise Refused(
            "bad_entrypoint",
            _("An entrypoint is a command such as 'python main.py', of up to %(most)d characters.")
            % {"most": ENTRYPOINT_CHARS},
            pointer="/entrypoint",
        )
    if "\0" in spec.entrypoint or "\0" in spec.script:
        raise Refused(
            "bad_entrypoint", _("A command or script has no zero bytes."), pointer="/entrypoint"
        )
    if len(spec.name) > NAME_CHARS or not is_readable(spec.name):
        raise Refused(
            "bad_name",
            _("A name has from 1 to %(most)d characters that can be seen, in one line.")
            % {"most": NAME_CHARS},
            pointer="/name",
        )
    if len(spec.script.encode()) > SCRIPT_BYTES:
        raise Refused(
            "script_too_long",
            _("A script has at most 1 MiB; upload a package for more."),
            pointer="/script",
        )
    if spec.script and spec.package:
        raise Refused(
            "script_and_package", _("Send a script or a package, not both."), pointer="/script"
        )


def _check_env(spec: JobSpec) -> None:
    for name in [*spec.env, *spec.secret_env]:
        ours = name.startswith("REGATTA_") and name != PLAN_VARIABLE
        if not ENV_NAME.fullmatch(name) or ours:
            raise Refused(
                "bad_variable",
                _(
                    "%(name)r cannot be an environment variable: use letters, digits and '_', and "
                    "leave REGATTA_… to the portal."
                )
                % {"name": name[:80]},
                pointer="/env",
            )
        if name in _CLUSTERS_OWN or name.startswith("RAY_AUTH_"):
            raise Refused(
                "bad_variable",
                _("%(name)s is the cluster's own: a job that set it would not find its cluster.")
                % {"name": name[:80]},
                pointer="/env",
            )
    if twice := set(spec.env) & set(spec.secret_env):
        raise Refused(
            "variable_twice",
            _("%(name)s is set as text and as a secret.") % {"name": min(twice)},
            pointer="/secret_env",
        )
    _check_texts(spec.env, pointer="/env", most_bytes=ENV_BYTES)
    _check_texts(spec.metadata, pointer="/metadata", most_bytes=DOCUMENT_BYTES)


def _check_texts(texts: Mapping[str, str], *, pointer: str, most_bytes: int) -> None:
    size = sum(
        len(f"{name}{text}".encode("utf-8", "surrogatepass")) for name, text in texts.items()
    )
    if size > most_bytes or any("\0" in f"{name}{text}" for name, text in texts.items()):
        raise Refused(
            "bad_texts",
            _("These texts have at most %(most)d KiB in all, and no zero bytes.")
            % {"most": most_bytes >> 10},
            pointer=pointer,
        )


def _check_numbers(spec: JobSpec) -> None:
    limits: dict[str, tuple[Decimal | int, Decimal | int, Decimal | int]] = {
        "cpus": (spec.cpus, 0, CPUS_MOST),
        "memory_bytes": (spec.memory_bytes, 0, MEMORY_MOST),
        "chips": (spec.chips, 0, CHIPS_MOST),
        "priority": (spec.priority, -PRIORITY_MOST, PRIORITY_MOST),
        "retries": (spec.retries, 0, RETRIES_MOST),
    }
    for name, (value, least, most) in limits.items():
        if Decimal(value).is_nan() or not least <= value <= most:
            raise Refused(
                "out_of_range",
                _("%(name)s must be from %(least)s to %(most)s.")
                % {"name": name, "least": least, "most": most},
                pointer=f"/{name}",
            )
    if spec.cpus != round(spec.cpus, 3):
        raise Refused("too_fine", _("cpus has at most three decimal places."), pointer="/cpus")
    _check_amounts(spec.entrypoint_resources)
    if len(spec.chip) > 60 or plain(spec.chip) != spec.chip:
        raise Refused("bad_chip", _("A chip's name has up to 60 characters."), pointer="/chip")


def _check_amounts(for_entrypoint: Mapping[str, Any]) -> None:
    """Ray fails over a negative amount, and over one that it would round to nothing."""
    if len(json.dumps(for_entrypoint)) > DOCUMENT_BYTES:
        raise Refused(
            "too_many_resources",
            _("What the entrypoint asks for has at most %(most)d KiB of JSON.")
            % {"most": DOCUMENT_BYTES >> 10},
            pointer="/entrypoint_resources",
        )
    amounts = [*for_entrypoint.get("resources", {}).items(), *for_entrypoint.items()]
    for name, amount in amounts:
        if name in {"resources", "label_selector"}:
            continue
        if amount != 0 and not RAYS_LEAST <= amount <= MEMORY_MOST:
            raise Refused(
                "out_of_range",
                _("%(name)s must be 0, or from %(least)s to %(most)s.")
                % {"name": name[:80], "least": RAYS_LEAST, "most": MEMORY_MOST},
                pointer="/entrypoint_resources",
            )


def _check_runtime_env(runtime_env: Mapping[str, Any]) -> None:
    pointer = "/runtime_env"
    if unknown := set(runtime_env) - RUNTIME_ENV_KEYS - _RAYS_OWN:
        raise Refused(
            "bad_runtime_env",
            _("runtime_env knows %(known)s, not %(unknown)s.")
            % {
                "known": ", ".join(sorted(RUNTIME_ENV_KEYS)),
                "unknown": ", ".join(sorted(str(key)[:80] for key in unknown)),
            },
            pointer=pointer,
        )
    if len(json.dumps(runtime_env)) > DOCUMENT_BYTES or "\\u0000" in json.dumps(runtime_env):
        raise Refused(
            "bad_runtime_env",
            _("runtime_env has at most 64 KiB of JSON, and no zero bytes."),
            pointer=pointer,
        )
    for key, shapes in _SHAPES.items():
        if key in runtime_env and not isinstance(runtime_env[key], shapes):
            raise Refused(
                "bad_runtime_env",
                _("runtime_env's %(key)s is written otherwise; see Ray's documentation of it.")
                % {"key": key},
                pointer=f"{pointer}/{key}",
            )
    modules = runtime_env.get("py_modules") or []
    folders = [folder for folder in [runtime_env.get("working_dir")] if folder] + modules
    if any(not isinstance(folder, str) or not _REMOTE.match(folder) for folder in folders):
        raise Refused(
            "bad_runtime_env",
            _("working_dir and py_modules name packages, such as gcs://…, s3://… or https://…"),
            pointer=f"{pointer}/working_dir",
        )
