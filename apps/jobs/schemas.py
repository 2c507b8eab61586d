"""Shapes of the API about jobs, packages and secrets."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from ninja import Schema
from pydantic import Field

from apps.http.schemas import In, StateOut
from regatta.lifecycle.attempt import Desired


class ResourcesIn(In):
    """What the whole job takes of its cluster, by which it queues."""

    cpus: Decimal = Decimal(1)
    memory_bytes: int = 0
    chip: str = ""
    chips: int = 0


class JobIn(In):
    """A job to be run.

    cluster, cluster_id: one of them, by name or id; neither where the team has only one cluster.
    script: Python source in place of a package. env: a value `secret:name` takes a secret.
    clone_of: the id of a job of which all is taken that is not given here.
    """

    name: str = ""
    cluster: str | int | None = None
    cluster_id: int | None = None
    entrypoint: str = ""
    package: str = ""
    script: str = ""
    env: dict[str, str] = Field(default_factory=dict)
    secret_env: dict[str, str] = Field(default_factory=dict)
    runtime_env: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, str] = Field(default_factory=dict)
    resources: ResourcesIn = Field(default_factory=ResourcesIn)
    priority: int = 0
    retries: int = 0
    clone_of: int | None = None


class DesiredIn(In):
    desired: Desired


class JobRowOut(Schema):
    id: int
    name: str
    cluster_id: int
    cluster_name: str
    state: StateOut
    attempt_number: int
    priority: int
    source: str
    user: str | None
    submission_id: str
    progress: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class JobPage(Schema):
    items: list[JobRowOut]
    next: str | None


class ResourcesOut(Schema):
    cpus: float
    memory_bytes: int
    chip: str
    chips: int


class JobOut(JobRowOut):
    """A job in full.

    queue_position: how many stand before it, null when it does not wait. eta_s: until the last
    step at the pace so far. cost_usd: of all attempts so far, null when a price is unknown.
    """

    desired: str
    entrypoint: str
    package: str | None
    env: dict[str, str]
    secret_env: dict[str, str]
    runtime_env: dict[str, Any]
    metadata: dict[str, str]
    resources: ResourcesOut
    retries: int
    clone_of: int | None
    attempt_id: int
    duration_s: float | None
    eta_s: float | None
    queue_position: int | None
    cost_usd: str | None


class AttemptOut(Schema):
    """One try of a job. evidence: what the verdict on its end rests on."""

    id: int
    number: int
    handle: str
    state: StateOut
    evidence: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class AttemptsOut(Schema):
    items: list[AttemptOut]
    next: None = None


class EventOut(Schema):
    """A move of one of a job's attempts; `seq` counts those of its attempt without a gap."""

    id: int
    at: datetime
    attempt: int
    seq: int
    old: str
    new: str
    reason: str
    message: str
    actor: str
    detail: dict[str, Any]


class EventsOut(Schema):
    items: list[EventOut]
    next: None = None


class PackageOut(Schema):
    id: int
    name: str
    sha256: str
    size_bytes: int
    members: int
    unpacked_bytes: int
    uploaded_by: str
    created_at: datetime


class PackagePage(Schema):
    items: list[PackageOut]
    next: str | None


class SecretIn(In):
    value: str


class SecretOut(Schema):
    """A secret by name; its value is shown to nobody."""

    name: str
    set_by: str
    set_at: datetime


class SecretsOut(Schema):
    items: list[SecretOut]
    next: None = None
