"""The line before a cluster: first come, first served, and nobody is told an untruth."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier

import pytest
from django.db import connection
from jobs import World, a_cluster_of, a_job, told
from people import owner_of

from apps.jobs import selectors, services
from apps.jobs.models import Attempt, Job
from apps.lifecycle.models import Event
from regatta.lifecycle.attempt import Seen


@pytest.fixture
def world():
    return World()


def a_line(cluster, *cpus, **fields):
    return [a_job(cluster, cpus=Decimal(count), **fields) for count in cpus]


def all_told(jobs):
    return [told(job) for job in jobs]


def end(world, job):
    world.launcher.put(f"job-{job.pk}-a1", Seen.SUCCEEDED)


RUNNING, FULL, BEHIND = (
    ("running", "seen_running"),
    ("queued", "waiting_for_resources"),
    ("queued", "waiting_for_turn"),
)


@pytest.mark.django_db
def test_as_many_start_as_fit_and_nobody_overtakes(world):
    jobs = a_line(a_cluster_of(), 4, 4, 5, 1)
    world.sweep(3)
    assert all_told(jobs) == [RUNNING, RUNNING, FULL, BEHIND]
    assert world.launcher.starts == 2
    assert [selectors.queue_position(Job.objects.get(pk=job.pk)) for job in jobs] == [
        None,
        None,
        0,
        1,
    ]


@pytest.mark.django_db
def test_an_end_lets_the_next_one_go(world):
    jobs = a_line(a_cluster_of(), 8, 8, 8)
    world.sweep(3)
    end(world, jobs[0])
    world.sweep(3)
    assert all_told(jobs) == [("succeeded", "succeeded"), RUNNING, FULL]


@pytest.mark.django_db
def test_the_more_important_goes_first_and_then_who_came_first(world):
    cluster = a_cluster_of()
    first, second = a_line(cluster, 8, 8)
    urgent, later = a_line(cluster, 8, 8, priority=5)
    order = []
    for _ in range(4):
        world.sweep(3)
        running = Job.objects.get(state="running")
        order.append(running.pk)
        end(world, running)
        world.sweep(1)
    assert order == [urgent.pk, later.pk, first.pk, second.pk]


@pytest.mark.django_db
def test_who_stands_first_and_is_stopped_makes_room_for_the_next(world):
    jobs = a_line(a_cluster_of(), 8, 8, 1)
    world.sweep(3)
    services.stop_job(jobs[1], actor="test")
    end(world, jobs[0])
    world.sweep(3)
    assert all_told(jobs)[1:] == [("stopped", "never_started"), RUNNING]


@pytest.mark.django_db
def test_each_cluster_has_a_line_of_its_own(world):
    full, free = a_line(a_cluster_of(), 8, 8), a_line(a_cluster_of(), 1)
    world.sweep(3)
    assert all_told(full + free) == [RUNNING, FULL, RUNNING]


@pytest.mark.django_db
def test_another_try_keeps_its_place_in_the_line(world):
    cluster = a_cluster_of()
    job, other = a_line(cluster, 8, 8)
    world.sweep(3)
    world.launcher.world.clear()  # lost
    world.sweep(3)
    assert all_told([job, other]) == [RUNNING, FULL]
    assert Attempt.objects.get(job=job, state="running").number == 2


@pytest.mark.django_db
def test_what_waits_tells_what_it_waits_for_now(world):
    jobs = a_line(a_cluster_of(), 8, 8, 8)
    world.hide()
    world.sweep(1)
    assert {told(job) for job in jobs} == {("queued", "waiting_for_cluster")}
    world.change(launcher=world.launcher)
    world.sweep(2)
    assert all_told(jobs) == [RUNNING, FULL, BEHIND]
    assert list(Attempt.objects.order_by("pk").values_list("reason", flat=True)) == [
        "seen_running",
        "waiting_for_resources",
        "waiting_for_turn",
    ]


@pytest.mark.django_db
def test_trouble_with_one_line_puts_off_no_other(world):
    stuck, well = a_cluster_of(), a_cluster_of()
    jobs = [a_job(stuck), a_job(well)]
    places = world.places

    def broken(cluster_id):
        if cluster_id == stuck.pk:
            raise ValueError("its token cannot be opened")
        return places(cluster_id)

    world.places = broken
    world.sweep(3)
    assert all_told(jobs) == [("queued", "submitted"), RUNNING]
    assert Attempt.objects.get(job=jobs[0]).troubles == 3
    world.places = places
    world.sweep(3)
    assert all_told(jobs) == [RUNNING, RUNNING]


@pytest.mark.django_db
def test_a_long_line_costs_a_sweep_no_more_than_a_short_one(world, django_assert_max_num_queries):
    cluster = a_cluster_of()
    a_job(cluster, cpus=Decimal(8))
    for _ in range(150):
        a_job(cluster)
    world.sweep(3)
    with django_assert_max_num_queries(25):
        world.sweep(1)


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_give_away_the_same_room():
    world, cluster = World(), a_cluster_of()
    jobs = a_line(cluster, *[3] * 6)
    gate = Barrier(6)

    def work(job):
        gate.wait()
        try:
            for _ in range(3):
                world.sweep(1)
                world.sweep(1, pk=Attempt.objects.get(job=job).pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, jobs))
    assert [told(job)[0] for job in jobs] == ["running"] * 2 + ["queued"] * 4
    assert world.launcher.starts == 2
    assert Event.objects.filter(new="starting").count() == 2


@pytest.mark.django_db(transaction=True)
def test_clusters_are_seen_to_side_by_side():
    world, gate = World(), Barrier(3, timeout=20)
    clusters = [a_cluster_of() for _ in range(3)]
    jobs = [a_job(cluster) for cluster in clusters]
    world.sweep(1)
    look = world.launcher.look

    def together(handle):
        gate.wait()  # breaks unless all three are looked at at the same time
        return look(handle)

    world.launcher.look = together
    world.sweep(1, at_once=8)
    assert [told(job)[0] for job in jobs] == ["running"] * 3


@pytest.mark.django_db(transaction=True)
def test_of_many_submitted_at_once_none_is_lost_and_none_runs_twice():
    world, cluster = World(), a_cluster_of()
    world.change(capacity={"cpus": Decimal(20)})
    owner, gate = owner_of(cluster.team), Barrier(4)

    def submit(first):
        gate.wait()
        try:
            return [a_job(cluster, user=owner, name=f"{first}-{n}").pk for n in range(15)]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        asked = sorted(pk for some in pool.map(submit, range(4)) for pk in some)
    assert asked == sorted(Job.objects.values_list("pk", flat=True))
    while live := list(Job.objects.filter(state__in=["queued", "starting", "running"])):
        world.sweep(2)
        for job in live:
            if job.state == "running":
                end(world, job)
    assert world.launcher.starts == 60
    assert set(Job.objects.values_list("state", "attempt_number")) == {("succeeded", 1)}
    assert Event.objects.filter(new="succeeded").count() == 60
