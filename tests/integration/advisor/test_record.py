"""From plan to job to record: what was foretold is kept, and stands beside the truth."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest
from chips import a_chip
from clusters import a_ready_cluster
from costs import a_price
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from jobs import a_job, the_attempt
from people import a_member, a_team, owner_of

from apps.accounts.scopes import Role
from apps.advisor import score_selectors, score_services
from apps.advisor.models import Prediction
from apps.clusters.services import NodeWish
from apps.http.problems import Refused
from apps.insights import services as metrics
from apps.jobs.models import Attempt, Job
from apps.jobs.spec import PLAN_VARIABLE
from regatta.hardware.clusters import read_cluster
from regatta.planning import document
from regatta.planning.hf import known_models, read_model
from regatta.planning.search import search, site
from regatta.telemetry.batch import decode, encode

pytestmark = pytest.mark.django_db
SHAPE = read_model(known_models()["llama-3-8b"], seq_len=8192)
CLUSTER = read_cluster({"chips": {"H100": 8}})
BEST = search(SHAPE, site(CLUSTER), 64, top=1).plans[0]
PLAN = json.dumps(
    document.write(
        document.Planned(
            name="llama-3-8b", shape=SHAPE, cluster=CLUSTER, plan=BEST.plan, tokens=1e9
        )
    )
)


@pytest.fixture(autouse=True)
def no_memory_of_other_tests():
    metrics._key_ids.clear()
    metrics._told.clear()


@pytest.fixture
def team():
    return a_team("crew")


@pytest.fixture
def cluster(team):
    return a_ready_cluster(team, workers=1, node=NodeWish(cpus=4, chip="H100", chips=8))


def a_planned_job(cluster, plan=PLAN, **fields):
    return a_job(cluster, env={PLAN_VARIABLE: plan}, chip="H100", chips=8, **fields)


def ended(job, *points, minutes_ago=5, hours=1.0):
    """Its attempt has run for so long and told these points."""
    attempt, now = the_attempt(job), timezone.now()
    body = encode(points, stream=str(uuid4()), seq=1, rank=0, dropped=0)
    metrics.take_in(decode(body), attempt_id=attempt.pk)
    end = now - timedelta(minutes=minutes_ago)
    times = {"started_at": end - timedelta(hours=hours), "ended_at": end}
    Attempt.objects.filter(pk=attempt.pk).update(state="succeeded", **times)
    Job.objects.filter(pk=job.pk).update(state="succeeded", **times)


def steps(seconds, *, count=50, slow=10):
    """Step times, the first ones slower."""
    return [
        ("step_s", step, seconds * (9 if step <= slow else 1), float(step))
        for step in range(1, count + 1)
    ]


def test_a_job_with_a_plan_has_its_prediction_once(cluster):
    job = a_planned_job(cluster)
    score_services.foresee(job.pk)
    score_services.foresee()
    row = Prediction.objects.get(job_id=job.pk)
    assert row.iteration_s == pytest.approx(BEST.iteration_s)
    assert row.peak_bytes == pytest.approx(BEST.peak_bytes)
    assert row.tokens_per_step == 64 * 8192
    assert row.plan == json.loads(PLAN)


def test_a_job_without_a_plan_or_with_nonsense_has_none(cluster):
    a_job(cluster)
    for nonsense in ("{}", '{"chip": "H1"}', "[" * 5000, '{"plan": NaN}'):
        a_planned_job(cluster, plan=nonsense)
    score_services.foresee()
    assert not Prediction.objects.exists()


def test_a_job_whose_plan_breaks_the_planner_holds_up_no_other(cluster, caplog, monkeypatch):
    def broken(said, team, told=score_selectors.foretell):
        return told(said, team) if said == PLAN else 1 // 0

    bad, good = a_planned_job(cluster, plan="{}"), a_planned_job(cluster)
    monkeypatch.setattr(score_selectors, "foretell", broken)
    score_services.foresee()
    assert [row.job_id for row in Prediction.objects.all()] == [good.pk]
    assert [row.job for row in caplog.records if row.levelname == "ERROR"] == [bad.pk]


def test_what_was_measured_is_stored_once_with_an_honest_error(cluster, client, team):
    job = a_planned_job(cluster)
    score_services.foresee()
    measured = BEST.iteration_s * 1.25
    peak = ("peak_memory_gib", 50, BEST.peak_bytes / 2**30, 50.0)
    ended(job, *steps(measured), peak)
    score_services.settle()
    score_services.settle()
    row = Prediction.objects.get(job_id=job.pk)
    assert (row.attempt, row.steps, row.trained_steps) == (1, 40, 50)
    assert row.measured_iteration_s == pytest.approx(measured)
    assert row.measured_peak_bytes == pytest.approx(BEST.peak_bytes)
    assert row.measured_hours == pytest.approx(1)
    client.force_login(owner_of(team))
    record = client.get(f"/t/{team.slug}/plan/record/").context["record"]
    assert record.count == 1
    assert record.rows[0].time_error == pytest.approx(-0.2)
    assert (record.mean, record.median) == (pytest.approx(0.2), pytest.approx(0.2))
    page = client.get(f"/t/{team.slug}/plan/record/").content.decode()
    assert "-20.0 %" in page
    assert "20.0 %" in client.get(f"/t/{team.slug}/plan/jobs/{job.pk}/").content.decode()


def test_tokens_a_second_do_as_well(cluster):
    job = a_planned_job(cluster)
    score_services.foresee()
    rate = 64 * 8192 / BEST.iteration_s
    ended(job, *[("tokens_per_s", step, rate, float(step)) for step in range(1, 31)])
    score_services.settle()
    row = Prediction.objects.get()
    assert row.measured_iteration_s == pytest.approx(BEST.iteration_s)
    assert row.measured_peak_bytes is None


def test_a_job_that_told_nothing_is_settled_without_a_figure(cluster, client, team):
    job = a_planned_job(cluster)
    score_services.foresee()
    ended(job, ("loss", 1, 4.0, 1.0))
    score_services.settle()
    row = Prediction.objects.get()
    assert (row.measured_iteration_s, row.steps) == (None, 0)
    assert row.settled_at is not None
    client.force_login(owner_of(team))
    assert client.get(f"/t/{team.slug}/plan/record/").context["record"].mean is None


def test_an_attempt_is_settled_only_once_its_telemetry_has_come(cluster):
    job = a_planned_job(cluster)
    score_services.foresee()
    ended(job, *steps(1.0), minutes_ago=1)
    score_services.settle()
    assert Prediction.objects.get().settled_at is None
    score_services.settle(now=timezone.now() + timedelta(minutes=2))
    assert Prediction.objects.get().settled_at is not None


def test_jobs_that_wait_or_are_settled_keep_no_result_from_being_stored(cluster, monkeypatch):
    monkeypatch.setattr(score_services, "_AT_ONCE", 1)
    settled, waiting, job = (a_planned_job(cluster) for _ in range(3))
    score_services.foresee()
    for one in (settled, job):
        ended(one, *steps(1.0))
        score_services.settle()
    row = Prediction.objects.get(job_id=job.pk)
    assert (row.attempt, row.measured_iteration_s) == (1, 1.0)
    assert Prediction.objects.get(job_id=waiting.pk).settled_at is None


def test_the_cost_foretold_is_that_of_the_steps_trained(cluster, team, client):
    a_price("4", kind="local", team=team)
    job = a_planned_job(cluster)
    score_services.foresee()
    row = Prediction.objects.get()
    assert row.usd_per_hour == Decimal(8)  # the head and one worker, all of it this job's
    ended(job, *steps(BEST.iteration_s))
    client.force_login(owner_of(team))
    one = client.get(f"/t/{team.slug}/plan/record/").context["record"].rows[0]
    assert one.usd == pytest.approx(8 * BEST.iteration_s * 50 / 3600)


def test_the_job_form_takes_a_plan_and_shows_what_to_expect(client, team, cluster):
    client.force_login(owner_of(team))
    address = f"/t/{team.slug}/jobs/new/"
    asked = {"plan": PLAN, "name": "from a plan", "chip": "H100", "chips": "8"}
    page = client.get(address, {**asked, "cluster": cluster.pk})
    form = page.context["form"]
    assert (form["plan"].value(), form["chips"].value()) == (PLAN, "8")
    assert f"/t/{team.slug}/plan/expected/" in page.content.decode()
    sent = {**asked, "cluster": cluster.pk, "what": "command", "entrypoint": "python train.py"}
    assert client.post(address, {**sent, "cpus": "1", "env": "SEED=7"}).status_code == 302
    job = Job.objects.get()
    assert job.env == {"SEED": "7", PLAN_VARIABLE: PLAN}
    clone = client.get(address, {"like": job.pk}).context["form"]
    assert (clone["plan"].value(), clone["env"].value()) == (PLAN, "SEED=7")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("[1]", "a JSON object is right"),
        ("{", "Expecting property name"),
        ("[" * 5000, "recursion"),
        (PLAN.replace('"chips": 8', '"chips": 16'), "chips: 16"),
        (PLAN.replace('"dp"', '"zeal": 1, "dp"'), "zeal: unknown"),
    ],
)
def test_what_is_no_plan_is_refused_by_the_form(client, team, cluster, plan, words):
    client.force_login(owner_of(team))
    sent = {"plan": plan, "cluster": cluster.pk, "what": "command", "entrypoint": "x"}
    answer = client.post(f"/t/{team.slug}/jobs/new/", {**sent, "cpus": "1"})
    said = str(answer.context["form"].errors["plan"])
    assert "No plan as the page Plan writes it" in said
    assert words in said
    assert not Job.objects.exists()


def test_what_to_expect_is_the_same_that_is_stored(client, team, cluster):
    client.force_login(owner_of(team))
    asked = {"plan": PLAN, "cluster": cluster.pk, "cpus": "1", "chip": "H100", "chips": "8"}
    context = client.get(f"/t/{team.slug}/plan/expected/", asked).context
    assert context["found"].item.iteration_s == pytest.approx(BEST.iteration_s)
    money = context["money"]
    assert money.seconds * money.kept.share == pytest.approx(1e9 / context["found"].tokens_per_s)
    wrong = client.get(f"/t/{team.slug}/plan/expected/", {"plan": "{"}).content.decode()
    assert "This plan cannot be read" in wrong


def test_the_explorer_and_the_job_form_tell_the_same_end_and_cost(client, team, cluster):
    a_price("4", kind="local:H100", team=team)
    a_price("1", kind="local", team=team)
    client.force_login(owner_of(team))
    asked = {"model": "llama-3-8b", "seq_len": "8192", "global_batch": "64", "dtype": "bf16"}
    asked |= {"where": "cluster", "cluster": str(cluster.pk), "tokens_b": "1000"}
    page = client.get("/t/crew/plan/", asked)
    use = dict(parse_qsl(urlsplit(page.context["use"]).query))
    there, here = page.context["answer"].money, client.get("/t/crew/plan/expected/", use)
    then = here.context["money"]
    assert (then.usd, then.seconds) == (pytest.approx(there.usd), pytest.approx(there.seconds))
    assert then.kept == there.kept
    assert "of the time makes progress" in here.content.decode()


def test_jobs_take_no_other_name_of_the_portal(cluster):
    with pytest.raises(Refused, match="leave REGATTA_"):
        a_job(cluster, env={"REGATTA_PLANS": "{}"})


def test_a_plan_for_a_chip_of_the_teams_own_is_borne_out_or_not(client, team):
    """All the way: its chip, the explorer, the job form, telemetry, the record."""
    a_chip(
        team,
        "lab-core",
        **{"memory_gib": 4, "memory_GBps": 5, "intra_GBps": 1, "inter_GBps": 1},
        **{"domain_chips": 2, "chips_per_node": 1, "fp32_tflops": 0.1, "bf16_tflops": 0.05},
    )
    lab = a_ready_cluster(team, workers=2, node=NodeWish(cpus=1, chip="lab-core", chips=1))
    client.force_login(owner_of(team))
    asked = {"model": "gpt2", "seq_len": "256", "global_batch": "8", "dtype": "fp32"}
    page = client.get("/t/crew/plan/", {**asked, "where": "cluster", "cluster": str(lab.pk)})
    predicted_s = page.context["answer"].chosen.iteration_s
    form = client.get(page.context["use"]).context["form"]
    sent = {name: form[name].value() for name in ("plan", "name", "cluster", "chip", "chips")}
    what = {"what": "command", "entrypoint": "python train.py", "cpus": form["cpus"].value()}
    assert client.post("/t/crew/jobs/new/", {**sent, **what}).status_code == 302
    job = Job.objects.get()
    score_services.foresee(job.pk)
    ended(job, *steps(2 * predicted_s))
    score_services.settle()
    record = client.get("/t/crew/plan/record/").context["record"]
    assert record.rows[0].prediction.plan["chip"] == "lab-core"
    assert record.rows[0].time_error == pytest.approx(-0.5)


def test_a_long_record_takes_no_more_queries_than_a_short_one(client, team, cluster):
    a_price("4", kind="local", team=team)
    client.force_login(owner_of(team))

    def asked(jobs):
        for _ in range(jobs):
            ended(a_planned_job(cluster), *steps(1.0), ("peak_memory_gib", 50, 1.0, 50.0))
        score_services.foresee()
        with CaptureQueriesContext(connection) as queries:
            rows = client.get("/t/crew/plan/record/").context["record"].rows
        assert all(row.measured.iteration_s and row.measured.trained_steps == 50 for row in rows)
        return len(queries)

    few = asked(1)
    assert asked(4) == few


def test_the_record_is_the_teams_own(client, team, cluster):
    a_planned_job(cluster)
    score_services.foresee()
    other = a_team("others")
    client.force_login(owner_of(other))
    assert client.get("/t/others/plan/record/").context["record"].rows == []
    client.force_login(a_member(team, Role.BILLING))
    assert client.get("/t/crew/plan/record/").status_code == 403
