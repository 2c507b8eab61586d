"""The admin console shows jobs, changes none by hand, and helps with the usual chores."""

from __future__ import annotations

import pytest
from django.urls import reverse
from jobs import World, a_cluster_of, a_job, the_attempt, told
from people import a_user

from apps.accounts.models import AuditEvent
from apps.jobs import secrets, services
from apps.jobs.log_models import Log, LogChunk
from apps.jobs.models import Attempt, Job, Package, Secret

pytestmark = pytest.mark.django_db
MODELS = ["job", "attempt", "package", "secret", "log", "logchunk"]


@pytest.fixture
def console(client):
    client.force_login(a_user(is_superuser=True))
    return client


@pytest.fixture
def job():
    cluster = a_cluster_of()
    secrets.set_secret(team=cluster.team, name="hf", value="s3cret", actor="test")
    job = a_job(cluster, script="print(1)", secret_env={"T": "hf"})
    Log.objects.create(attempt=the_attempt(job), stored_bytes=4)
    LogChunk.objects.create(attempt=the_attempt(job), byte_from=0, byte_to=4, data=b"text")
    return job


def act(console, model, action, *pks):
    return console.post(
        reverse(f"admin:jobs_{model}_changelist"),
        {"action": action, "_selected_action": pks},
        follow=True,
    )


@pytest.mark.parametrize("model", MODELS)
def test_every_row_is_shown_and_none_can_be_changed(console, job, model):
    listing = console.get(reverse(f"admin:jobs_{model}_changelist"))
    assert listing.status_code == 200
    [row] = listing.context["cl"].result_list
    detail = reverse(f"admin:jobs_{model}_change", args=[row.pk])
    shown = console.get(detail)
    assert shown.status_code == 200
    assert b"s3cret" not in shown.content + listing.content
    assert Secret.objects.get().sealed.encode() not in shown.content
    assert console.post(detail, {"state": "succeeded", "name": "x"}).status_code == 403
    assert console.get(reverse(f"admin:jobs_{model}_add")).status_code == 403


def test_a_job_is_stopped_and_tried_again_from_the_console(console, job):
    act(console, "job", "stop", job.pk)
    assert told(job) == ("stopped", "never_started")
    act(console, "job", "try_again", job.pk)
    assert told(job)[0] == "queued"
    assert b"once it has ended" in act(console, "job", "try_again", job.pk).content
    assert Job.objects.get().attempt_number == 2
    actors = AuditEvent.objects.filter(action="job.stop").values_list("actor", flat=True)
    assert [actor.split(":")[0] for actor in actors] == ["user"]


def test_an_attempt_put_off_by_trouble_is_looked_at_again(console, job):
    world = World()
    world.sweep(3)
    before = the_attempt().next_look_at
    act(console, "attempt", "look_again", the_attempt().pk)
    assert Attempt.objects.get().next_look_at < before


def test_a_secret_is_forgotten_from_the_console(console, job):
    act(console, "secret", "forget", Secret.objects.get().pk)
    assert Secret.objects.count() == 0


def test_a_package_is_deleted_from_the_console_unless_a_job_needs_it(console, job):
    assert b"needs this package" in act(console, "package", "delete", job.package_id).content
    services.stop_job(job, actor="test")
    act(console, "package", "delete", job.package_id)
    assert Package.objects.get().deleted_at is not None
