"""Each invariant: what keeps it is passed over, what breaks it is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO

import httpx
import pytest
from django.core.management import call_command
from django.db import connection
from jobs import World, a_cluster_of, a_job, the_attempt

from apps.accounts.vault import seal
from apps.clusters.models import Node
from apps.config import invariants
from apps.config.invariants import broken
from apps.jobs import reconcile, services
from apps.lifecycle.models import Heartbeat
from regatta.providers.local.processes import marks

pytestmark = pytest.mark.django_db
HOUR_AGO = "now() - interval '1 hour'"
METER = """INSERT INTO costs_meter (name, "on", team_id, kind, quantity, started_at, stopped_at)
           VALUES ('{name}', '{on}', {team}, 'local', 1, now() - interval '2 hours', {stopped})"""


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def found() -> list[tuple[str, str]]:
    """Codes, and what is named after the colon."""
    return [(one.code, one.what.rpartition(": ")[2]) for one in broken()]


def event(subject: str, seq: int, old: str = "") -> str:
    return f"""INSERT INTO lifecycle_event (subject, seq, old, new, reason, detail, actor)
               VALUES ('{subject}', {seq}, '{old}', 'x', 'test', '{{}}', 'test')"""


def test_a_portal_in_use_keeps_every_invariant():
    world = World()
    waiting, stopped = a_job(), a_job()
    services.stop_job(stopped, actor="test")
    reconcile.sweep(places=world.places, now=world.now)
    assert the_attempt(waiting).state != "queued"
    assert found() == []


def test_i1_a_job_without_its_attempts():
    job = a_job()
    run(f"DELETE FROM jobs_attempt WHERE job_id = {job.pk}")
    assert ("I1", f"jobs.job:{job.pk}") in found()


def test_i1_an_accepted_submission_without_its_job():
    run(
        """INSERT INTO http_keptanswer (owner, key, route, body_sha256, status, body, headers)
           VALUES ('me', 'once', 'POST /api/v1/jobs', '', 202, '{"id": 404404}', '{}')"""
    )
    [(code, what)] = found()
    assert (code, what.startswith("http.keptanswer:")) == ("I1", True)


def test_i2_two_live_attempts():
    job = a_job()
    run(
        "DROP INDEX one_live_attempt_per_job",
        f"UPDATE jobs_job SET attempt_number = 2 WHERE id = {job.pk}",
    )
    job.attempts.create(number=2)
    assert found() == [("I2", f"jobs.job:{job.pk}")]


def test_i2_a_job_that_tells_another_state_than_its_attempt():
    job = a_job()
    run(f"UPDATE jobs_job SET state = 'running' WHERE id = {job.pk}")
    assert found() == [("I2", f"jobs.job:{job.pk}")]


@pytest.mark.parametrize(
    ("subject", "end"),
    [("jobs.attempt:1", "lost"), ("clusters.cluster:1", "deleted"), ("clusters.node:1", "gone")],
)
def test_i4_a_move_out_of_an_end(subject: str, end: str):
    run(event(subject, 1, end))
    assert found() == [("I4", subject)]


def test_i4_a_word_that_ends_one_kind_of_row_may_go_on_for_another():
    run(event("clusters.cluster:1", 1, "failed"))  # it may be tried again; an attempt may not
    assert found() == []


@pytest.mark.parametrize("seqs", [[2], [1, 3]])
def test_i5_a_gap_in_the_events(seqs: list[int]):
    run(*(event("clusters.cluster:404404", seq) for seq in seqs))
    assert found() == [("I5", "clusters.cluster:404404")]


def test_i5_a_move_that_was_not_recorded():
    cluster = a_cluster_of()
    run(f"UPDATE clusters_cluster SET generation = 5 WHERE id = {cluster.pk}")
    assert found() == [("I5", f"clusters.cluster:{cluster.pk}")]


def a_log(attempt, *spans: tuple[int, int], stored: int) -> None:
    run(
        f"""INSERT INTO jobs_log (attempt_id, stored_bytes, ending)
            VALUES ({attempt.pk}, {stored}, '')"""
    )
    for start, end in spans:
        run(
            f"""INSERT INTO jobs_logchunk (attempt_id, byte_from, byte_to, data)
                VALUES ({attempt.pk}, {start}, {end}, repeat('x', {end - start})::bytea)"""
        )


def test_i6_a_log_without_gaps_is_well():
    a_log(the_attempt(a_job()), (0, 3), (3, 7), stored=7)
    assert found() == []


@pytest.mark.parametrize("spans", [[(1, 3)], [(0, 3), (4, 7)], [(0, 4), (3, 7)]])
def test_i6_a_log_with_a_gap_or_an_overlap(spans):
    attempt = the_attempt(a_job())
    a_log(attempt, *spans, stored=spans[-1][1])
    assert found() == [("I6", attempt.subject)]


def test_i6_a_log_that_says_another_length():
    attempt = the_attempt(a_job())
    a_log(attempt, (0, 3), stored=4)
    assert found() == [("I6", attempt.subject)]


def test_i7_an_ended_attempt_that_goes_on_costing():
    job = a_job()
    attempt = the_attempt(job)
    services.stop_job(job, actor="test")
    run(METER.format(name=attempt.subject, on="", team=job.team_id, stopped="NULL"))
    assert found() == [("I7", attempt.subject)]


def test_i7_two_meters_at_the_same_time():
    job = a_job()
    name = the_attempt(job).subject
    for stopped in ("NULL", HOUR_AGO):
        run(METER.format(name=name, on="", team=job.team_id, stopped=stopped))
    assert found() == [("I7", name)]


def test_i7_a_meter_that_runs_on_without_a_node_of_its_cluster():
    job = a_job()
    on = f"clusters.cluster:{job.cluster_id}"
    run(METER.format(name="jobs.attempt:404404", on=on, team=job.team_id, stopped="NULL"))
    assert found() == [("I7", "jobs.attempt:404404")]


def test_i8_a_stop_that_did_not_come_true():
    job = a_job()
    run(
        f"UPDATE jobs_job SET desired = 'stopped' WHERE id = {job.pk}",
        f"UPDATE jobs_attempt SET since = {HOUR_AGO} WHERE job_id = {job.pk}",
    )
    assert found() == [("I8", f"jobs.job:{job.pk}")]


def test_i8_a_stop_in_trouble_says_so_and_breaks_nothing():
    job = a_job()
    run(
        f"UPDATE jobs_job SET desired = 'stopped' WHERE id = {job.pk}",
        f"""UPDATE jobs_attempt SET since = {HOUR_AGO}, unknown_since = now(), trouble = 'away'
            WHERE job_id = {job.pk}""",
    )
    assert found() == []


@pytest.mark.parametrize("desired", ["stopped", "deleted"])
def test_i8_a_cluster_that_did_not_go(desired: str):
    cluster = a_cluster_of(desired=desired)
    run(f"UPDATE clusters_cluster SET since = {HOUR_AGO} WHERE id = {cluster.pk}")
    assert found() == [("I8", f"clusters.cluster:{cluster.pk}")]


@pytest.mark.parametrize("row", ["none", "ended"])
def test_i3_a_node_that_no_row_wants(settings, tmp_path, row):
    if row == "ended":
        a_node_that_ended_an_hour_ago("clu-9-s1-n0")
    settings.REGATTA_HOME = tmp_path
    mark = marks(tmp_path, cluster="clu-9", node="clu-9-s1-n0")
    stray = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"],
        env={**os.environ, **mark},
        stdout=subprocess.PIPE,
    )
    try:
        assert stray.stdout is not None
        stray.stdout.readline()
        assert found() == [("I3", "clu-9-s1-n0")]
    finally:
        stray.kill()
        stray.communicate()


def a_node_that_ended_an_hour_ago(name):
    node = Node.objects.create(
        cluster=a_cluster_of(),
        **{"session": 1, "number": 0, "name": name, "role": "head", "kind": "local"},
        **{"cpus": 0, "memory_bytes": 1 << 29, "next_look_at": None},
    )
    assert node.advance("gone", reason="never_started")
    run(f"UPDATE clusters_node SET since = {HOUR_AGO}")


def a_cluster_that_lists(monkeypatch, *jobs):
    """A ready cluster whose head answers with these jobs, or not with a list."""
    cluster = a_cluster_of(session=1, address="http://head", token=seal("t"))

    def answer(request):
        assert (request.url.path, request.headers["Authorization"]) == ("/api/jobs/", "Bearer t")
        return httpx.Response(200, json=jobs[0] if jobs == ({},) else jobs)

    def connect(address, token):
        bearer = {"Authorization": f"Bearer {token}"}
        transport = httpx.MockTransport(answer)
        return httpx.Client(base_url=address, headers=bearer, transport=transport)

    monkeypatch.setattr(invariants, "connect", connect)
    return cluster


def a_ray_job(handle, *, status="RUNNING", mark=None):
    metadata = {"regatta_attempt": handle if mark is None else mark}
    return {"submission_id": handle, "status": status, "metadata": metadata}


def test_i3_a_job_of_ours_that_runs_and_that_no_attempt_wants(monkeypatch):
    a_cluster_that_lists(
        monkeypatch,
        a_ray_job("job-404-a1"),
        a_ray_job("job-405-a1", status="SUCCEEDED"),
        a_ray_job("job-406-a1", mark="job-9-a9"),
        {"submission_id": None, "status": "RUNNING", "metadata": None},
        {"submission_id": "somebodys", "status": "RUNNING", "metadata": {}},
    )
    assert found() == [("I3", "job-404-a1")]


@pytest.mark.parametrize("is_there", [True, False])
def test_i3_an_attempt_that_runs_nowhere(monkeypatch, is_there):
    cluster = a_cluster_that_lists(monkeypatch)
    attempt = the_attempt(a_job(cluster))
    run(
        f"UPDATE jobs_attempt SET state = 'running', session = '1', since = {HOUR_AGO},"
        f" next_look_at = now() + interval '1 hour' WHERE id = {attempt.pk}",
        f"UPDATE jobs_job SET state = 'running' WHERE id = {attempt.job_id}",
    )
    attempt.refresh_from_db()
    there = {attempt.handle: True} if is_there else {}
    monkeypatch.setattr(invariants, "live_by_handle", lambda _: there)
    wrong = [] if is_there else [("I3", attempt.handle)]
    assert [one for one in found() if one[0] == "I3"] == wrong


def test_a_head_that_answers_nonsense_is_a_warning(monkeypatch):
    a_cluster_that_lists(monkeypatch, {})
    [one] = broken()
    assert (one.code, one.severity) == ("I3", "warning")


def test_a_sweep_that_is_behind_is_a_warning():
    job = a_job()
    run(f"UPDATE jobs_attempt SET next_look_at = {HOUR_AGO} WHERE job_id = {job.pk}")
    [one] = broken()
    assert (one.code, one.severity) == ("sweep", "warning")


def test_many_rows_are_counted_and_not_all_named():
    run(*(event(f"clusters.cluster:{number}", 2) for number in range(404001, 404008)))
    [one] = broken()
    assert one.what.endswith(" and 2 more")


def told() -> tuple[int, list[dict[str, str]]]:
    """The exit code and the findings of the command."""
    out = StringIO()
    try:
        call_command("doctor", "--json", stdout=out)
        code = 0
    except SystemExit as end:
        code = int(str(end.code))
    return code, json.loads(out.getvalue())["findings"]


def test_the_command_is_content_with_a_live_ticker():
    Heartbeat.beat("ticker")
    assert told() == (0, [])


def test_the_command_fails_without_a_ticker_and_says_what_to_do():
    code, [finding] = told()
    assert (code, finding["code"], finding["severity"]) == (1, "ticker", "error")
    assert finding["advice"] == "Nothing moves without it. Start the portal: regatta up"


def test_a_missing_migration_is_named():
    Heartbeat.beat("ticker")
    run("DELETE FROM django_migrations WHERE app = 'insights'")
    code, [finding] = told()
    assert (code, finding["code"]) == (1, "migrations")
    assert "insights.0001" in finding["what"]
