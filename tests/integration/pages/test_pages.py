"""Pages over a real database: what they ask of it, what they refuse, what they tell."""

from __future__ import annotations

import json
import re
import shlex
import time
from decimal import Decimal

import pytest
from clusters import a_ready_cluster
from django.core.files.uploadedfile import SimpleUploadedFile
from jobs import World, a_job, the_attempt
from packages import a_zip
from people import a_member, a_team, a_token, owner_of

from apps.accounts.scopes import Role
from apps.clusters.models import Cluster
from apps.costs import services as costs
from apps.jobs import secrets, services
from apps.jobs.models import Job, Log, Package
from apps.jobs.schemas import JobIn

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return a_team("crew")


@pytest.fixture
def cluster(team):
    return a_ready_cluster(team, name="lab")


@pytest.fixture
def owner(client, team):
    client.force_login(owner_of(team))
    return client


def a_form(on, **fields):
    given = {"what": "command", "entrypoint": "python main.py", "cpus": "1"}
    return {**given, "cluster": on.pk, **fields}


def test_the_form_begins_with_a_script_for_somebody_who_has_never_submitted(owner, cluster):
    page = "/t/crew/jobs/new/"
    assert owner.get(page).context["form"]["what"].value() == "script"
    assert owner.get(f"{page}?sample=1").context["form"]["what"].value() == "command"
    assert owner.post(page, a_form(cluster)).status_code == 302
    assert owner.get(page).context["form"]["what"].value() == "command"


def test_what_a_job_costs_is_told_as_final_once_it_has_ended(owner, cluster):
    attempt = the_attempt(a_job(cluster))
    page = f"/t/crew/jobs/{attempt.job_id}/"
    assert "Cost so far" in owner.get(page).content.decode()
    assert attempt.advance("stopped", reason="never_started")
    assert "Cost so far" not in owner.get(page).content.decode()


@pytest.mark.parametrize(
    ("stored_bytes", "ending", "words"),
    [
        (7, "complete", "The log is being loaded."),
        (0, "", "The log is being loaded."),
        (0, "complete", "Nothing was printed."),
    ],
)
def test_the_page_of_an_ended_job_tells_whether_its_log_is_yet_to_come(
    owner, cluster, stored_bytes, ending, words
):
    attempt = the_attempt(a_job(cluster))
    Log.objects.create(attempt=attempt, stored_bytes=stored_bytes, ending=ending)
    page = f"/t/crew/jobs/{attempt.job_id}/"
    for state, reason in [("starting", "placed"), ("running", "seen_running")]:
        assert attempt.advance(state, reason=reason)
    assert attempt.advance("succeeded", reason="succeeded")
    told = re.search(r"data-log-empty>(.*?)<", owner.get(page).content.decode())
    assert told is not None
    assert told[1] == words


def test_home_says_that_a_cluster_costs_while_it_starts(owner, cluster):
    words = "nodes cost from their start"
    assert words not in owner.get("/t/crew/").content.decode()
    Cluster.objects.filter(pk=cluster.pk).update(state="provisioning")
    assert words in owner.get("/t/crew/").content.decode()


def test_the_list_of_jobs_asks_as_often_for_fifty_as_for_one(
    owner, cluster, django_assert_max_num_queries
):
    for _ in range(50):
        a_job(cluster)
    with django_assert_max_num_queries(14):
        assert owner.get("/t/crew/jobs/").status_code == 200


def test_home_counts_all_that_wait_and_shows_the_first_of_them(owner, cluster):
    for _ in range(8):
        a_job(cluster)
    page = owner.get("/t/crew/")
    assert (page.context["seen"].waiting_count, len(page.context["seen"].waiting)) == (8, 6)
    assert "8 wait" in page.content.decode()


def test_a_running_job_tells_the_steps_and_the_time_left_wherever_it_is_shown(owner, cluster):
    job = a_job(cluster)
    World().sweep(3)
    Job.objects.update(progress={"first_step": 0, "first_at_s": time.time() - 6000})
    services.note_progress(the_attempt(job).pk, step=10, total_steps=60)
    for page in ("", "jobs/", f"jobs/{job.pk}/"):
        words = re.sub("<[^>]*>", "", owner.get(f"/t/crew/{page}").content.decode())
        assert re.search(r"8 h 2\d min left", words), page


def test_a_log_that_is_cut_is_not_called_complete(owner, cluster):
    job = a_job(cluster)
    World().sweep()
    services.stop_job(job, actor="test")
    World().sweep(3)
    Log.objects.update(ending="too_long")
    page = owner.get(f"/t/crew/jobs/{job.pk}/").content.decode()
    assert "cut: longer than the portal keeps" in page
    assert "Complete" not in page


def test_filters_stand_in_the_address_and_paging_keeps_them(owner, cluster):
    for number in range(51):
        a_job(cluster, name=f"wanted {number}")
    a_job(cluster, name="other")
    page = owner.get("/t/crew/jobs/?q=wanted").content.decode()
    assert "other" not in page
    older = re.search(r'href="(\?[^"]*after=[^"]+)" rel="next"', page)[1].replace("&amp;", "&")
    assert "q=wanted" in older
    page = owner.get(f"/t/crew/jobs/{older}").content.decode()
    assert "wanted 0" in page
    assert "wanted 1<" not in page


def test_htmx_is_given_the_part_and_everybody_else_the_page(owner, cluster):
    whole = owner.get("/t/crew/jobs/")
    part = owner.get("/t/crew/jobs/", headers={"HX-Request": "true"})
    assert b"<html" in whole.content
    assert b"<html" not in part.content
    assert part["Vary"].count("HX-Request") == 1


def test_what_nothing_moves_in_is_not_polled(owner, cluster):
    job = a_job(cluster)
    assert b"every 3s" in owner.get("/t/crew/jobs/").content
    services.stop_job(job, actor="test")
    assert b"every 3s" not in owner.get("/t/crew/jobs/").content


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"entrypoint": ""}, "entrypoint"),
        ({"name": "n" * 10_000}, "name"),
        ({"cpus": "-1"}, "cpus"),
        ({"cpus": "900"}, "cpus"),
        ({"cluster": "999999"}, "cluster"),
        ({"env": "no sign"}, "env"),
        ({"env": "A=secret:nobody"}, "env"),
        ({"retries": "99"}, "retries"),
        ({"what": "package"}, "package"),
    ],
)
def test_a_bad_job_is_told_at_its_field_and_changes_nothing(owner, cluster, fields, field):
    answer = owner.post("/t/crew/jobs/new/", a_form(cluster, **fields))
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert not Job.objects.exists()


@pytest.mark.parametrize("state", ["failed", "deleting"])
def test_a_cluster_that_failed_or_is_being_deleted_is_not_offered(owner, team, cluster, state):
    ending = a_ready_cluster(team, name="old")
    Cluster.objects.filter(pk=ending.pk).update(state=state)
    form = owner.get("/t/crew/jobs/new/").context["form"]
    assert form.fields["cluster"].choices == [(cluster.pk, "lab")]
    answer = owner.post("/t/crew/jobs/new/", a_form(ending))
    assert list(answer.context["form"].errors) == ["cluster"]
    assert not Job.objects.exists()


def test_a_package_that_is_no_zip_is_told_at_its_field(owner, cluster):
    upload = SimpleUploadedFile("work.zip", b"no zip at all")
    answer = owner.post("/t/crew/jobs/new/", a_form(cluster, what="package", package=upload))
    assert list(answer.context["form"].errors) == ["package"]
    assert not Package.objects.exists()


def test_an_upload_is_kept_only_if_its_job_is(owner, cluster):
    def send(**fields):
        upload = SimpleUploadedFile("work.zip", a_zip(("main.py", b"print(1)")))
        asked = a_form(cluster, what="package", package=upload, **fields)
        return owner.post("/t/crew/jobs/new/", asked)

    assert list(send(cpus="900").context["form"].errors) == ["cpus"]
    assert not Package.objects.exists()
    assert send().status_code == 302
    assert Job.objects.get().package == Package.objects.get()


def test_a_clone_begins_with_what_the_first_one_asked(owner, cluster):
    secrets.set_secret(team=cluster.team, name="hf", value="v", actor="test")
    job = a_job(cluster, env={"SEED": "7"}, secret_env={"HF_TOKEN": "hf"}, retries=2)
    form = owner.get(f"/t/crew/jobs/new/?like={job.pk}").context["form"]
    assert form["env"].value() == "SEED=7\nHF_TOKEN=secret:hf"
    assert (form["entrypoint"].value(), form["retries"].value()) == ("python main.py", 2)


def test_a_clone_runs_in_the_package_and_environment_of_the_first_one(owner, cluster):
    seen = {"runtime_env": {"pip": ["einops"]}, "metadata": {"run": "9"}, "cpus": Decimal(10)}
    Cluster.objects.update(node_cpus=16)
    job = a_job(cluster, script="print(1)", **seen)
    page = f"/t/crew/jobs/new/?like={job.pk}"
    form = owner.get(page).context["form"]
    assert (form["what"].value(), form["cpus"].value()) == ("package", "10")
    assert job.package.name in form["package"].help_text
    assert owner.post(page, a_form(cluster, what="package", cpus="10")).status_code == 302
    clone = Job.objects.latest("pk")
    assert (clone.clone_of, clone.package, clone.cpus) == (job, job.package, Decimal(10))
    assert (clone.runtime_env, clone.metadata) == (seen["runtime_env"], seen["metadata"])


def test_the_ray_command_takes_the_secrets_too(owner, cluster):
    secrets.set_secret(team=cluster.team, name="hf", value="v", actor="test")
    job = a_job(cluster, env={"SEED": "7"}, secret_env={"HF_TOKEN": "hf"})
    words = shlex.split(owner.get(f"/t/crew/jobs/{job.pk}/").context["ray"])
    given = json.loads(words[words.index("--runtime-env-json") + 1])
    assert given == {"env_vars": {"SEED": "7", "HF_TOKEN": "secret:hf"}}


def test_the_curl_command_is_a_request_that_the_api_understands(owner, cluster):
    job = a_job(cluster, env={"SEED": "7"}, cpus=Decimal(0), metadata={"run": "9"})
    shown = owner.get(f"/t/crew/jobs/{job.pk}/").context["curl"]
    assert "$REGATTA_TOKEN" in shown
    words = shlex.split(shown.replace("\\\n", " "))
    asked = JobIn(**json.loads(words[words.index("-d") + 1]))
    assert (asked.cluster_id, asked.entrypoint, asked.env) == (
        cluster.pk,
        "python main.py",
        {"SEED": "7"},
    )
    assert (asked.resources.cpus, asked.metadata) == (0, {"run": "9"})


def test_a_job_that_failed_quotes_what_the_cluster_said(owner, cluster):
    attempt = the_attempt(a_job(cluster))
    attempt.advance("starting", reason="placed")
    said = {"message": "<b>ValueError</b>", "exit_code": 3}
    attempt.advance("failed", reason="entrypoint_failed", evidence=said, detail=said)
    page = owner.get(f"/t/crew/jobs/{attempt.job_id}/").content.decode()
    assert "&lt;b&gt;ValueError&lt;/b&gt;" in page
    assert "<b>ValueError" not in page
    assert "exit code 3" in page


def test_a_cluster_that_failed_quotes_its_nodes_on_its_page_and_in_its_events(owner, cluster):
    wrote = {"quote": "OSError: no <space> left"}
    assert cluster.advance("failed", reason="nodes_keep_failing", detail=wrote)
    page = owner.get(f"/t/crew/clusters/{cluster.pk}/").content.decode()
    assert page.count("OSError: no &lt;space&gt; left") == 2
    headers = {"Authorization": f"Bearer {a_token(cluster.team)}"}
    [told] = owner.get(f"/api/v1/clusters/{cluster.pk}/events", headers=headers).json()["items"]
    assert told["quote"] == wrote["quote"]


def test_the_price_of_a_cluster_is_told_before_it_is_asked_for(owner, team):
    costs.set_price(team=team, kind="local:P800", usd_per_hour="2.50", actor="test")
    told = owner.get("/t/crew/costs/estimate/?workers=3&node_chip=P800")
    assert told.context["hourly"] == Decimal("7.6")
    assert owner.get("/t/crew/costs/estimate/?workers=many").context["nodes"] is None


@pytest.mark.parametrize("name", ["Bad Name", "", "x" * 10_000, "lab"])
def test_a_bad_cluster_is_told_at_its_field_and_changes_nothing(owner, cluster, name):
    given = {"name": name, "provider": "local", "workers": 1, "node_cpus": 1, "node_memory_gib": 2}
    answer = owner.post("/t/crew/clusters/new/", given)
    assert answer.status_code == 422
    assert Cluster.objects.count() == 1


def test_a_viewer_is_shown_no_way_to_change_what_they_may_not(client, team, cluster):
    client.force_login(a_member(team, Role.VIEWER))
    job = a_job(cluster)
    for path in ("", "clusters/", f"clusters/{cluster.pk}/", "jobs/", f"jobs/{job.pk}/"):
        page = client.get(f"/t/crew/{path}").content.decode()
        assert "/new/" not in page
        assert 'data-dialog="stop"' not in page
        assert 'data-dialog="delete"' not in page


def test_a_billing_viewer_sees_costs_and_no_jobs(client, team, cluster):
    a_job(cluster, name="hush")
    client.force_login(a_member(team, Role.BILLING))
    home = client.get("/t/crew/").content.decode()
    assert "hush" not in home
    assert "This month" in home
    assert client.get("/t/crew/costs/").status_code == 200
    assert client.get("/t/crew/jobs/").status_code == 403


def test_a_token_is_on_the_answer_that_makes_it_and_on_no_other(owner):
    given = {"name": "ci", "scopes": ["jobs:read"], "days": 7}
    secret = owner.post("/t/crew/tokens/", given).context["secret"]
    assert secret.startswith("rgt_")
    page = owner.get("/t/crew/tokens/").content.decode()
    assert secret not in page
    assert secret[:12] in page


def test_a_member_cannot_revoke_anothers_token(client, team):
    a_token(team)
    client.force_login(a_member(team))
    pk = owner_of(team).tokens.get().pk
    assert client.post(f"/t/crew/tokens/{pk}/revoke/").status_code == 404
    assert owner_of(team).tokens.get().revoked_at is None


def test_signing_in_leads_to_our_own_pages_only(client, team):
    user = owner_of(team)
    user.set_password("four words make one")
    user.save()
    given = {"username": user.username, "password": "four words make one"}
    answer = client.post("/sign-in/", {**given, "next": "https://evil.example/"})
    assert answer["Location"] == "/"


def test_a_page_that_is_not_there_says_so_with_the_id_of_the_request(owner):
    answer = owner.get("/t/crew/jobs/999999/")
    assert answer.status_code == 404
    assert answer["X-Request-Id"] in answer.content.decode()


def test_pages_speak_the_language_that_was_chosen(owner):
    owner.post("/language/", {"language": "zh-hans", "next": "/t/crew/"})
    assert b'<html lang="zh-hans"' in owner.get("/t/crew/").content
