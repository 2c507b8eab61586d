"""What a job writes is kept whole, once, and without its secrets, whatever breaks meanwhile."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from jobs import World, a_job, the_attempt
from ray_logs import RayLogs, a_running_attempt, ending, following, stored, wait_until

from apps.clusters.models import Cluster
from apps.config.invariants import broken
from apps.jobs import logs, secrets, selectors
from apps.jobs.log_models import Log, LogChunk
from apps.jobs.logs import Addition
from apps.jobs.models import Attempt

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ray():
    with RayLogs() as server:
        yield server


def end(attempt):
    attempt.refresh_from_db()
    if attempt.state == "starting":
        attempt.advance("running", reason="seen_running")
    attempt.advance("succeeded", reason="succeeded")


def kept(attempt):
    return b"".join(piece.data for piece in logs.all_pieces(attempt.pk))


def all_is_kept(ray, attempt):
    wait_until(lambda: stored(attempt) == len(ray.files[attempt.handle]))
    assert kept(attempt) == ray.files[attempt.handle]
    assert not [one for one in broken() if one.code == "I6"]


def test_what_a_job_writes_is_kept_while_it_runs(ray):
    attempt = a_running_attempt(ray)
    ray.write(attempt.handle, b"first\n")
    with following():
        all_is_kept(ray, attempt)
        ray.write(attempt.handle, b"second\n" * 50_000)
        all_is_kept(ray, attempt)
    assert ending(attempt) == ""


def test_a_stream_that_breaks_off_goes_on_without_a_gap_or_a_line_twice(ray):
    attempt = a_running_attempt(ray)
    with following():
        for number in range(4):
            ray.write(attempt.handle, b"line %d\n" % number)
            wait_until(lambda: stored(attempt) > 0)
            ray.cut()
        ray.write(attempt.handle, b"last\n")
        all_is_kept(ray, attempt)
    assert ray.streams > 1


def test_a_follower_that_starts_again_goes_on_where_the_last_one_stopped(ray):
    attempt = a_running_attempt(ray)
    ray.write(attempt.handle, b"before\n")
    with following():
        all_is_kept(ray, attempt)
    ray.write(attempt.handle, b"between\n")
    with following():
        all_is_kept(ray, attempt)


def test_two_followers_keep_each_byte_once(ray):
    attempts = [a_running_attempt(ray) for _ in range(3)]
    with following(), following():
        for number in range(20):
            for attempt in attempts:
                ray.write(attempt.handle, b"line %d\n" % number)
        for attempt in attempts:
            all_is_kept(ray, attempt)


def test_a_late_follower_adds_nothing_after_another_took_over(ray):
    attempt = a_running_attempt(ray)
    late, present = uuid.uuid4(), uuid.uuid4()
    assert [held.attempt_id for held in logs.take_over(late)] == [attempt.pk]
    assert logs.take_over(present) == []
    Log.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert [held.attempt_id for held in logs.take_over(present)] == [attempt.pk]
    logs.add(present, [Addition(attempt_id=attempt.pk, byte_from=0, data=b"ours\n")])

    lost = logs.add(late, [Addition(attempt_id=attempt.pk, byte_from=0, data=b"theirs\n")])

    assert lost == {attempt.pk}
    assert kept(attempt) == b"ours\n"


def test_the_same_bytes_added_again_are_refused(ray):
    attempt = a_running_attempt(ray)
    token = uuid.uuid4()
    logs.take_over(token)
    again = [Addition(attempt_id=attempt.pk, byte_from=0, data=b"once\n")]
    assert logs.add(token, again) == set()
    assert logs.add(token, again) == {attempt.pk}
    assert kept(attempt) == b"once\n"


def test_the_database_refuses_bytes_twice_and_lengths_that_lie(ray):
    attempt = a_running_attempt(ray)
    LogChunk.objects.create(attempt=attempt, byte_from=0, byte_to=2, data=b"ab")
    for start, to in ((0, 2), (2, 9), (2, 2)):
        with pytest.raises(IntegrityError), transaction.atomic():
            LogChunk.objects.create(attempt=attempt, byte_from=start, byte_to=to, data=b"ab")


def test_a_killed_followers_logs_are_taken_over_when_its_lease_ends(ray):
    attempt = a_running_attempt(ray)
    dead = uuid.uuid4()
    logs.take_over(dead)
    logs.add(dead, [Addition(attempt_id=attempt.pk, byte_from=0, data=b"half a ")])
    ray.write(attempt.handle, b"half a line\n")
    with following():
        Log.objects.update(lease_until=Now() - timedelta(seconds=1))
        all_is_kept(ray, attempt)


def test_the_end_of_an_attempt_brings_the_rest_and_completes_the_log(ray):
    attempt = a_running_attempt(ray)
    ray.write(attempt.handle, b"begin\n")
    with following():
        all_is_kept(ray, attempt)
        ray.write(attempt.handle, b"end, without a newline")
        end(attempt)
        wait_until(lambda: ending(attempt))
    assert ending(attempt) == "complete"
    all_is_kept(ray, attempt)
    assert not Log.objects.get().is_truncated


def test_an_attempt_that_ended_while_nobody_followed_is_read_to_its_end(ray):
    attempt = a_running_attempt(ray)
    ray.write(attempt.handle, b"all of it\n")
    end(attempt)
    with following():
        wait_until(lambda: ending(attempt))
    assert (ending(attempt), kept(attempt)) == ("complete", b"all of it\n")


def test_an_attempt_that_never_wrote_has_a_complete_and_empty_log(ray):
    attempt = a_running_attempt(ray)
    end(attempt)
    with following():
        wait_until(lambda: ending(attempt))
    assert (ending(attempt), kept(attempt)) == ("complete", b"")


def test_a_log_whose_cluster_is_gone_is_marked_as_cut_after_a_minute(ray):
    attempt = a_running_attempt(ray)
    ray.write(attempt.handle, b"kept\n")
    with following():
        all_is_kept(ray, attempt)
        Cluster.objects.update(address="")
        end(attempt)
        Attempt.objects.update(since=Now() - logs.FINAL_FLUSH - timedelta(seconds=1))
        wait_until(lambda: ending(attempt))
    assert (ending(attempt), kept(attempt)) == ("unreachable", b"kept\n")
    assert Log.objects.get().is_truncated


def test_a_log_beyond_the_cap_is_cut_and_the_job_goes_on(ray, monkeypatch):
    monkeypatch.setattr(logs, "MOST_BYTES", 1000)
    attempt = a_running_attempt(ray)
    ray.write(attempt.handle, b"x" * 900)
    with following():
        wait_until(lambda: stored(attempt) == 900)
        ray.write(attempt.handle, b"y" * 900)
        wait_until(lambda: ending(attempt))
    assert (ending(attempt), kept(attempt)) == ("too_long", b"x" * 900 + b"y" * 100)
    attempt.refresh_from_db()
    assert attempt.state == "starting"


def test_secrets_of_the_job_are_starred_out_before_they_are_kept(ray):
    attempt = a_running_attempt(ray)
    team = attempt.job.team
    secrets.set_secret(team=team, name="hf", value="s3cret-value", actor="test")
    type(attempt.job).objects.update(secret_env={"HF_TOKEN": "hf"})
    ray.write(attempt.handle, b"HF_TOKEN=s3cret-value\nAuthorization: Bearer abc\n")
    with following():
        wait_until(lambda: stored(attempt) == len(ray.files[attempt.handle]))
    assert kept(attempt) == b"HF_TOKEN=************\nAuthorization: Bearer ***\n"


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "rotated"])
def test_a_secret_changed_while_a_job_runs_is_starred_out_as_it_was(ray, deleted):
    idle = a_running_attempt(ray)
    cluster, team = idle.job.cluster, idle.job.team
    secrets.set_secret(team=team, name="hf", value="s3cret-value", actor="test")
    job = a_job(cluster, secret_env={"HF_TOKEN": "hf"})
    World().sweep(3)
    attempt = the_attempt(job)
    assert attempt.sealed_secrets != ""
    assert "s3cret" not in attempt.sealed_secrets
    if deleted:
        secrets.delete_secret(selectors.secrets(team).get(), actor="test")
    else:
        secrets.set_secret(team=team, name="hf", value="another-one", actor="test")
    ray.write(attempt.handle, b"HF_TOKEN=s3cret-value\n")
    with following():
        wait_until(lambda: stored(attempt) == len(ray.files[attempt.handle]))
        end(attempt)
        wait_until(lambda: ending(attempt))
    assert kept(attempt) == b"HF_TOKEN=************\n"
    attempt.refresh_from_db()
    assert attempt.sealed_secrets == ""


def test_hostile_bytes_are_kept_as_they_are_and_shown_harmlessly(ray):
    attempt = a_running_attempt(ray)
    ray.write(attempt.handle, b"\x00 \xff\xfe <script> \xe2\x80\xae \x1b[2J\r\n")
    with following():
        all_is_kept(ray, attempt)
    shown = "".join(piece.text for piece in logs.all_pieces(attempt.pk))
    assert shown == "\x00 \ufffd\ufffd <script> \u202e \x1b[2J\r\n"


def test_a_large_write_is_cut_into_chunks_between_characters(ray):
    attempt = a_running_attempt(ray)
    ray.write(attempt.handle, "训练".encode() * 40_000)
    with following():
        all_is_kept(ray, attempt)
    sizes = [row.byte_to - row.byte_from for row in LogChunk.objects.all()]
    assert max(sizes) <= logs.CHUNK_BYTES
    assert all(bytes(row.data).decode() for row in LogChunk.objects.all())


def test_reading_is_bounded_and_goes_on_where_it_stopped(ray):
    attempt = a_running_attempt(ray)
    token = uuid.uuid4()
    logs.take_over(token)
    logs.add(token, [Addition(attempt_id=attempt.pk, byte_from=0, data=b"0123456789" * 100_000)])
    some = logs.pieces(attempt.pk, after=5, most_bytes=100_000)
    assert some[0].byte_from == 5
    assert some[-1].byte_to - 5 < 100_000 + logs.CHUNK_BYTES
    part = b"".join(
        piece.data for piece in logs.all_pieces(attempt.pk, start=99_995, until=100_005)
    )
    assert part == b"5678901234"


def test_a_cluster_whose_token_cannot_be_read_stops_the_logs_of_no_other(ray):
    spoiled, attempt = a_running_attempt(ray), a_running_attempt(ray)
    Cluster.objects.filter(pk=spoiled.job.cluster_id).update(token="spoiled")
    ray.write(attempt.handle, b"read all the same\n")
    with following():
        all_is_kept(ray, attempt)


@pytest.mark.parametrize("nonsense", [b"[]", b"{}", b" " * ((1 << 20) + 1) + b"{}"])
def test_an_answer_that_is_not_about_the_job_is_asked_for_again(ray, nonsense):
    attempt = a_running_attempt(ray)
    ray.write(attempt.handle, b"kept later\n")
    ray.nonsense = nonsense
    with following():
        wait_until(ray.nonsense_told.is_set)
        ray.nonsense = b""
        all_is_kept(ray, attempt)
