"""Jobs come to what was asked of them, with nothing but the sweep."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, InternalError, connection, transaction
from django.db.models.functions import Now
from jobs import World, a_cluster_of, a_job, states, the_attempt, told
from packages import a_zip

from apps.costs.models import Meter
from apps.jobs import packages, reconcile, secrets, selectors, services
from apps.jobs.models import Attempt, Job
from apps.lifecycle.models import Event
from regatta.lifecycle.attempt import (
    MAX_START_FAILURES,
    HandleTaken,
    Seen,
    StartFailed,
    StartRefused,
)
from regatta.testing.launchers import FakeLauncher

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """The worker's process ended here."""


class DiesAfterStart(FakeLauncher):
    def start(self, launch):
        super().start(launch)
        raise Killed


class Unreachable(FakeLauncher):
    def look(self, handle):
        raise ConnectionError("no way there")


class Refusing(FakeLauncher):
    def __init__(self, refusal):
        super().__init__()
        self.refusal = refusal

    def start(self, launch):
        raise self.refusal


class StoppedMeanwhile(FakeLauncher):
    def look(self, handle):
        services.stop_job(Job.objects.get(), actor="test")
        return super().look(handle)


@pytest.fixture
def world():
    return World()


def test_the_sweep_alone_brings_a_job_to_its_end(world):
    job = a_job()
    world.sweep(3)
    world.launcher.put(f"job-{job.pk}-a1", Seen.SUCCEEDED)
    world.sweep(2)
    moves = Event.objects.order_by("pk").values_list("seq", "new", "reason")
    assert list(moves) == [
        (1, "starting", "placed"),
        (2, "running", "seen_running"),
        (3, "succeeded", "succeeded"),
    ]
    assert the_attempt().next_look_at is None
    assert told(job) == ("succeeded", "succeeded")


def test_one_nudge_places_a_job_and_hands_it_over(world):
    job = a_job()
    world.sweep(pk=the_attempt().pk)
    assert world.launcher.starts == 1
    assert told(job) == ("starting", "placed")


def test_a_worker_killed_after_acting_does_not_start_the_job_twice(world):
    a_job()
    dying = World(DiesAfterStart())
    with pytest.raises(Killed):
        dying.sweep()
    assert states() == ["starting"]

    world.launcher.world, world.launcher.launches = dying.launcher.world, dying.launcher.launches
    world.launcher.starts, world.now = 1, dying.now + reconcile.LEASE + timedelta(seconds=1)
    world.sweep(2)
    assert states() == ["running"]
    assert world.launcher.starts == 1


def test_a_steady_job_is_looked_at_and_left_alone(world):
    a_job()
    world.sweep(3)
    events = Event.objects.count()
    world.sweep(3)
    assert Event.objects.count() == events
    assert world.launcher.starts == 1


def test_a_lost_attempt_is_followed_by_another_until_the_budget_is_spent(world):
    job = a_job()
    for _ in range(6):
        world.sweep(3)
        world.launcher.world.clear()
        world.sweep(2)
    assert states() == ["lost"] * 4
    assert world.launcher.starts == 4
    assert told(job) == ("lost", "unknown_to_its_cluster")


def fail(world, job):
    attempt = the_attempt(job)
    world.launcher.put(attempt.handle, Seen.FAILED, error_type="JOB_ENTRYPOINT_COMMAND_ERROR")
    world.sweep(3)


def test_a_failed_attempt_is_final_when_the_job_has_no_retries(world):
    job = a_job()
    world.sweep(3)
    fail(world, job)
    assert states() == ["failed"]
    assert told(job) == ("failed", "entrypoint_failed")


def test_a_failed_attempt_is_followed_by_as_many_as_the_job_may_spend(world):
    job = a_job(retries=2)
    for _ in range(4):
        world.sweep(3)
        fail(world, job)
    assert states() == ["failed"] * 3
    assert sorted(world.launcher.world) == [f"job-{job.pk}-a{number}" for number in (1, 2, 3)]


def test_a_worker_that_comes_late_changes_nothing(world):
    a_job()
    world.sweep(3)
    late = the_attempt()
    world.launcher.world.clear()
    world.sweep()
    reconcile.step(late, place=world.place, now=world.now)
    rows = Attempt.objects.order_by("number").values_list("number", "state")
    assert list(rows) == [(1, "lost"), (2, "starting")]


def test_the_database_refuses_a_second_live_attempt():
    job = a_job()
    with pytest.raises(IntegrityError), transaction.atomic():
        job.attempts.create(number=2)


def test_the_database_refuses_to_change_an_end(world):
    job = a_job()
    services.stop_job(job, actor="test")
    with pytest.raises((IntegrityError, InternalError), match="final"), transaction.atomic():
        Attempt.objects.update(state="running")


def test_stopping_twice_is_the_same_as_stopping_once(world):
    job = a_job()
    world.sweep(3)
    services.stop_job(job, actor="test")
    services.stop_job(job, actor="test")
    world.sweep(3)
    assert states() == ["stopped"]
    assert world.launcher.look(f"job-{job.pk}-a1").seen is Seen.STOPPED
    assert told(job) == ("stopped", "stopped_as_asked")


def test_what_waits_is_stopped_at_once(world):
    job = a_job()
    services.stop_job(job, actor="test")
    assert told(job) == ("stopped", "never_started")
    world.sweep(2)
    assert world.launcher.starts == 0


def test_a_wish_made_while_a_worker_looks_is_not_put_off(world):
    a_job()
    world.sweep(3)
    meddled = StoppedMeanwhile()
    meddled.world = world.launcher.world
    world.change(launcher=meddled)
    reconcile.sweep(places=world.places, now=world.now)
    world.change(launcher=world.launcher)
    reconcile.sweep(places=world.places, now=world.now)
    assert states() == ["stopping"]


@pytest.mark.parametrize("before", [1, 3])
def test_trouble_in_asking_delays_an_attempt_and_changes_nothing_else(world, before):
    job = a_job()
    world.sweep(before)
    was = told(job)
    world.change(launcher=Unreachable())
    world.sweep(3)
    attempt = the_attempt()
    assert told(job) == was
    assert (attempt.troubles, attempt.lease_token) == (3, None)
    assert attempt.trouble == "ConnectionError: no way there"
    assert attempt.unknown_since is not None


def test_sight_that_comes_back_ends_the_doubt(world):
    job = a_job()
    world.sweep(3)
    world.change(launcher=Unreachable())
    world.sweep(2)
    world.change(launcher=world.launcher)
    world.launcher.put(f"job-{job.pk}-a1", Seen.SUCCEEDED)
    world.sweep(1)
    attempt = the_attempt()
    assert (attempt.state, attempt.unknown_since, attempt.troubles) == ("succeeded", None, 0)


def test_the_trouble_of_one_cluster_delays_no_other(world):
    slow, well = a_cluster_of(), a_cluster_of()
    jobs = [a_job(slow), a_job(slow), a_job(well)]
    world.change(slow, launcher=Unreachable())
    world.sweep(3)
    assert [told(job)[0] for job in jobs] == ["starting", "starting", "running"]


def test_the_first_trouble_puts_off_all_of_a_cluster(world):
    cluster, looks = a_cluster_of(), []
    for _ in range(3):
        a_job(cluster)

    class Counting(Unreachable):
        def look(self, handle):
            looks.append(handle)
            return super().look(handle)

    world.change(launcher=Counting())
    world.sweep(1)
    assert len(looks) == 1
    assert list(Attempt.objects.values_list("troubles", flat=True)) == [1, 1, 1]


def test_a_cluster_that_is_not_ready_changes_nothing_and_says_since_when(world):
    job = a_job()
    world.sweep(3)
    world.hide()
    world.sweep(4)
    attempt = the_attempt()
    assert told(job) == ("running", "seen_running")
    assert (attempt.troubles, attempt.lease_token) == (0, None)
    assert attempt.unknown_since is not None


def test_a_cluster_that_is_not_ready_is_waited_for(world):
    job = a_job()
    world.hide()
    world.sweep(3)
    assert told(job) == ("queued", "waiting_for_cluster")
    world.change(launcher=world.launcher)
    world.sweep(3)
    assert told(job)[0] == "running"


def test_a_deleted_cluster_ends_what_ran_and_what_waited(world):
    cluster = a_cluster_of()
    jobs = [a_job(cluster, cpus=Decimal(8)), a_job(cluster)]
    world.sweep(3)
    world.hide(unseen=Seen.GONE)
    world.sweep(3)
    assert [told(job) for job in jobs] == [("lost", "cluster_deleted")] * 2
    kinds = [row.evidence for row in Attempt.objects.all()]
    assert kinds == [{"kind": "cluster_deleted"}] * 2


def test_a_session_that_ended_loses_its_attempts_and_another_try_waits_for_the_next(world):
    job = a_job()
    world.sweep(3)
    world.hide(unseen=Seen.FORGOTTEN)
    world.sweep(3)
    assert states() == ["lost", "queued"]
    assert told(job) == ("queued", "waiting_for_cluster")
    world.change(launcher=FakeLauncher(), session="2")
    world.sweep(3)
    assert states() == ["lost", "running"]


def test_a_head_that_came_back_without_its_jobs_has_lost_them(world):
    a_job()
    world.sweep(3)
    world.change(launcher=FakeLauncher(), session="2")
    world.sweep(1)
    attempt = Attempt.objects.get(number=1)
    assert (attempt.state, attempt.reason) == ("lost", "session_changed")
    assert attempt.evidence == {"kind": "session_ended"}


def test_a_head_that_came_back_with_its_jobs_has_lost_nothing(world):
    a_job()
    world.sweep(3)
    world.change(session="2")
    world.sweep(2)
    assert states() == ["running"]


@pytest.mark.parametrize(
    ("refusal", "ends", "reason"),
    [
        (StartRefused("ValueError: odd"), ["failed"], "refused_by_cluster"),
        (HandleTaken("job-1-a1"), ["lost", "starting"], "handle_taken"),
    ],
)
def test_a_start_that_can_never_be_ends_the_attempt_and_says_why(world, refusal, ends, reason):
    a_job()
    refusing = Refusing(refusal)
    world.change(launcher=refusing)
    world.sweep(1)
    first = Attempt.objects.get(number=1)
    assert (states()[0], first.reason) == (ends[0], reason)
    assert first.evidence == {"kind": "refusal", "message": str(refusal)}
    assert states() == ends


def test_a_start_that_keeps_failing_gives_up_its_place_in_the_line(world):
    a_job()
    world.change(launcher=Refusing(StartFailed("RecursionError: too deep")))
    world.sweep(MAX_START_FAILURES - 1)
    assert states() == ["starting"]
    world.sweep(1)
    assert states() == ["failed"]
    assert the_attempt().reason == "refused_by_cluster"
    assert the_attempt().evidence["message"] == "RecursionError: too deep"


def test_a_secret_deleted_meanwhile_ends_the_attempt_and_says_which(world):
    cluster = a_cluster_of()
    secrets.set_secret(team=cluster.team, name="hf", value="s3cret", actor="test")
    job = a_job(cluster, secret_env={"HF_TOKEN": "hf"})
    secrets.delete_secret(selectors.secrets(cluster.team).get(), actor="test")
    world.sweep(2)
    assert told(job) == ("failed", "input_missing")
    assert the_attempt().evidence["message"] == "secret hf"


def test_a_package_by_the_name_of_a_deleted_one_is_another_to_the_cluster(world):
    cluster, launches = a_cluster_of(), world.launcher.launches

    def upload(content):
        packed = a_zip(("main.py", content))
        return packages.save_package([packed], team=cluster.team, actor="test", name="mine.zip")[0]

    first = upload(b"print(1)")
    env = {"py_modules": ["gcs://mine.zip", "s3://theirs.zip"]}
    job = a_job(cluster, package="mine.zip", runtime_env=env)
    world.sweep(1)
    launch, known = launches[f"job-{job.pk}-a1"], packages.name_of(first.sha256)
    assert launch.runtime_env["working_dir"] == f"gcs://{known}"
    assert launch.runtime_env["py_modules"] == [f"gcs://{known}", "s3://theirs.zip"]
    assert list(launch.packages) == [known]
    world.launcher.put(f"job-{job.pk}-a1", Seen.FAILED)
    world.sweep(2)
    packages.delete_package(first, actor="test")
    second = upload(b"print(2)")
    services.retry_job(job, actor="test")
    again = a_job(cluster, package="mine.zip")
    world.sweep(2)
    assert told(job) == ("failed", "input_missing")
    assert list(launches[f"job-{again.pk}-a1"].packages) == [packages.name_of(second.sha256)]


def test_a_start_brings_what_the_job_asked_for_and_tells_it_who_it_is(world, settings):
    cluster = a_cluster_of()
    secrets.set_secret(team=cluster.team, name="hf", value="s3cret", actor="test")
    job = a_job(
        cluster,
        script="print(1)",
        entrypoint="",
        env={"A": "1"},
        secret_env={"HF_TOKEN": "hf"},
        metadata={"who": "me"},
        runtime_env={"pip": ["x"]},
        entrypoint_resources={"num_cpus": 0.5},
    )
    world.sweep(1)
    launch, attempt = world.launcher.launches[f"job-{job.pk}-a1"], the_attempt()
    env = launch.runtime_env["env_vars"]
    outputs = settings.REGATTA_HOME / "outputs" / attempt.handle
    assert launch.entrypoint == "python main.py"
    assert launch.entrypoint_resources == {"num_cpus": 0.5}
    assert launch.runtime_env["pip"] == ["x"]
    assert launch.runtime_env["working_dir"] == f"gcs://{job.package.name}"
    assert list(launch.packages) == [job.package.name]
    assert launch.metadata["who"] == "me"
    assert launch.metadata["regatta_attempt"] == attempt.handle
    assert env == {
        "A": "1",
        "HF_TOKEN": "s3cret",
        "REGATTA_URL": settings.REGATTA_URL,
        "REGATTA_JOB_ID": str(job.pk),
        "REGATTA_ATTEMPT": "1",
        "REGATTA_OUTPUT_DIR": str(outputs),
        "REGATTA_EARLIER_OUTPUT_DIRS": "",
        "REGATTA_TELEMETRY_TOKEN": env["REGATTA_TELEMETRY_TOKEN"],
    }
    assert outputs.is_dir()
    found = services.selectors.attempt_of_telemetry_token(env["REGATTA_TELEMETRY_TOKEN"])
    assert found == attempt


def test_a_telemetry_token_is_good_for_its_attempt_and_its_life_alone(world):
    job, other = a_job(), a_job()
    read = services.selectors.attempt_of_telemetry_token
    token = services.selectors.telemetry_token(the_attempt(job))
    number, signature = token.split("_")[2:]
    assert read(token) == the_attempt(job)
    assert read(f"rgt_job_{the_attempt(other).pk}_{signature}") is None
    assert read(f"rgt_job_{number}_{'0' * 64}") is None
    assert read("rgt_job_x") is None
    services.stop_job(job, actor="test")
    assert read(token) == the_attempt(job)
    Attempt.objects.filter(job=job).update(ended_at=Now() - timedelta(minutes=3))
    assert read(token) is None


def test_the_books_count_a_jobs_share_from_its_start_to_its_end(world):
    job = a_job(cpus=Decimal(2))
    world.sweep(3)
    running = Meter.objects.get()
    assert (running.name, running.kind) == (f"jobs.attempt:{the_attempt().pk}", "local")
    assert (running.quantity, running.stopped_at) == (Decimal("0.5"), None)
    world.launcher.put(f"job-{job.pk}-a1", Seen.SUCCEEDED)
    world.sweep(2)
    ended, attempt = Meter.objects.get(), the_attempt()
    assert (ended.started_at, ended.stopped_at) == (attempt.started_at, attempt.ended_at)


def test_what_never_ran_costs_nothing(world):
    services.stop_job(a_job(), actor="test")
    world.sweep(2)
    assert Meter.objects.count() == 0


def test_work_that_still_runs_after_its_attempt_ended_is_ended(world):
    job = a_job()
    world.sweep(3)
    services.stop_job(job, actor="test")
    handle, left = f"job-{job.pk}-a1", world.launcher.world.copy()
    world.sweep(3)
    world.launcher.world = left  # a late worker, or Ray, brought it back
    reconcile.stop_strays(places=world.places)
    assert world.launcher.look(handle).seen is Seen.STOPPED


def test_a_hung_cluster_is_asked_for_strays_once_a_pass(world):
    cluster, asked = a_cluster_of(), []
    for _ in range(3):
        a_job(cluster)
    Attempt.objects.update(state="lost", session="1", ended_at=Now())

    def hung(cluster_id):
        asked.append(cluster_id)
        raise TimeoutError

    reconcile.stop_strays(places=hung)
    assert asked == [cluster.pk]


def test_turns_and_leases_go_by_the_clock_of_the_database(world):
    a_job()
    reconcile.sweep(places=world.places, now=Now())
    attempt = the_attempt()
    assert (attempt.state, attempt.lease_until) == ("starting", None)
    assert attempt.next_look_at > attempt.since


def test_a_sweep_with_nothing_to_do_asks_little_of_the_database(
    world, django_assert_max_num_queries
):
    cluster = a_cluster_of()
    for _ in range(30):
        a_job(cluster)
    world.sweep(3)
    now = world.now - timedelta(seconds=40)  # nobody's turn
    with django_assert_max_num_queries(6):
        reconcile.sweep(places=world.places, now=now)
    assert connection.in_atomic_block
