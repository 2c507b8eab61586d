"""Jobs by REST: what is answered, and that a refusal changes nothing."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection
from django.test import Client
from jobs import World, a_cluster_of, a_job, the_attempt
from packages import a_zip, a_zip_that_leaves, zeros
from people import a_member, a_team, a_token, bearer

from apps.accounts.models import ApiToken, AuditEvent
from apps.accounts.scopes import Role
from apps.http.models import KeptAnswer
from apps.jobs import packages, selectors, services, tasks
from apps.jobs.models import Attempt, Job, Package, Secret
from apps.lifecycle.models import Event
from regatta.lifecycle.attempt import Seen

pytestmark = pytest.mark.django_db
JSON = {"content_type": "application/json"}


class Caller:
    """A client with a token of a team."""

    def __init__(self, team, **token):
        self.team, self.client = team, Client(raise_request_exception=True)
        self.auth = bearer(a_token(team, **token))

    def get(self, path, **query):
        return self.client.get(f"/api/v1{path}", query, **self.auth)

    def send(self, method, path, body=None, **headers):
        call = getattr(self.client, method)
        headers = {"headers": {**self.auth["headers"], **headers}}
        return call(f"/api/v1{path}", body, **JSON, **headers)

    def submit(self, **body):
        return self.send("post", "/jobs", {"name": "a", "entrypoint": "python main.py"} | body)

    def upload(self, packed):
        return self.client.post(
            "/api/v1/packages", packed, content_type="application/zip", **self.auth
        )


@pytest.fixture
def caller():
    return Caller(a_cluster_of().team)


def everything():
    tables = (Job, Attempt, Package, Secret, Event, AuditEvent, KeptAnswer)
    return [table.objects.count() for table in tables]


def test_a_job_is_accepted_and_told_in_full(caller):
    answer = caller.submit(
        env={"A": "1"}, resources={"cpus": 2}, retries=1, metadata={"k": "v"}, priority=3
    )
    job = Job.objects.get()
    assert (answer.status_code, answer["Location"]) == (202, f"/api/v1/jobs/{job.pk}")
    told = answer.json()
    assert told == caller.get(f"/jobs/{job.pk}").json()
    assert told["state"] == {
        "state": "queued",
        "reason": "submitted",
        "message": told["state"]["message"],
        "since": told["created_at"],
        "generation": 0,
        "unknown_since": None,
    }
    assert told["state"]["message"] != ""
    assert told["resources"] == {"cpus": 2, "memory_bytes": 0, "chip": "", "chips": 0}
    assert (told["env"], told["retries"], told["priority"]) == ({"A": "1"}, 1, 3)
    assert (told["submission_id"], told["queue_position"]) == (f"job-{job.pk}", 0)
    assert (told["cost_usd"], told["duration_s"], told["source"]) == ("0.000000", None, "api")


def test_the_same_key_gives_the_same_job_and_another_body_is_refused(caller):
    key = {"Idempotency-Key": "k1"}
    body = {"name": "a", "entrypoint": "sleep 1"}
    first = caller.send("post", "/jobs", body, **key)
    again = caller.send("post", "/jobs", body, **key)
    other = caller.send("post", "/jobs", body | {"name": "b"}, **key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again["Location"] == first["Location"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert Job.objects.count() == 1


def deep(levels):
    """A list in a list in a list."""
    return [deep(levels - 1)] if levels else []


BAD = [
    ({"entrypoint": "  "}, "bad_entrypoint", "/entrypoint"),
    ({"entrypoint": "x" * 10_001}, "bad_entrypoint", "/entrypoint"),
    ({"entrypoint": "a\0b"}, "bad_text", "/entrypoint"),
    ({"script": "x = \ud800"}, "bad_text", "/script"),
    ({"cluster": "a\0"}, "bad_text", "/cluster"),
    ({"package": "\0"}, "bad_text", "/package"),
    ({"metadata": {"\ud800": "x"}}, "bad_text", "/metadata"),
    ({"runtime_env": {"pip": ["\ud800"]}}, "bad_text", "/runtime_env/pip/0"),
    ({"runtime_env": {"config": {"a": 1e999}}}, "invalid_json", None),
    ({"runtime_env": {"config": deep(100)}}, "too_deep", None),
    ({"runtime_env": {"env_vars": {"A": "1"}}}, "bad_runtime_env", "/runtime_env"),
    ({"name": "n" * 10_000}, "bad_name", "/name"),
    ({"name": "a\nb"}, "bad_name", "/name"),
    ({"name": "\u200b"}, "bad_name", "/name"),
    ({"name": "\u3164 \u2800"}, "bad_name", "/name"),
    ({"name": "tset\u202egpj.exe"}, "bad_name", "/name"),
    ({"name": "", "entrypoint": ""}, "bad_entrypoint", "/entrypoint"),
    ({"name": "", "entrypoint": "\u200b"}, "bad_entrypoint", "/entrypoint"),
    ({"resources": {"chips": -1}}, "out_of_range", "/chips"),
    ({"resources": {"cpus": -1}}, "out_of_range", "/cpus"),
    ({"resources": {"cpus": "-1e-300"}}, "out_of_range", "/cpus"),
    ({"resources": {"cpus": "1e-300"}}, "too_fine", "/cpus"),
    ({"resources": {"cpus": 0.0004}}, "too_fine", "/cpus"),
    ({"resources": {"cpus": "Infinity"}}, "invalid_request", "/body/resources/cpus"),
    ({"resources": {"cpus": "1e300"}}, "out_of_range", "/cpus"),
    ({"resources": {"memory_bytes": 10**400}}, "out_of_range", "/memory_bytes"),
    ({"resources": {"cpus": "NaN"}}, "invalid_request", "/body/resources/cpus"),
    ({"resources": {"memory_bytes": -5}}, "out_of_range", "/memory_bytes"),
    ({"resources": {"cpus": 9}}, "never_fits", "/cpus"),
    ({"resources": {"chips": 1}}, "never_fits", "/chips"),
    ({"resources": {"chip": "H200", "chips": 1}}, "never_fits", "/chips"),
    ({"priority": 101}, "out_of_range", "/priority"),
    ({"retries": 11}, "out_of_range", "/retries"),
    ({"retries": -1}, "out_of_range", "/retries"),
    ({"cluster_id": 999_999}, "unknown_cluster", "/cluster"),
    ({"cluster_id": -1}, "unknown_cluster", "/cluster"),
    ({"cluster_id": 1 << 70}, "unknown_cluster", "/cluster"),
    ({"cluster": "nowhere"}, "unknown_cluster", "/cluster"),
    ({"package": "_ray_pkg_0.zip"}, "unknown_package", "/package"),
    ({"script": "x", "package": "y.zip"}, "script_and_package", "/script"),
    ({"runtime_env": {"working_dir": "gcs://no.zip"}}, "unknown_package", "/runtime_env"),
    ({"runtime_env": {"container": {}}}, "bad_runtime_env", "/runtime_env"),
    ({"runtime_env": {"pip": ["x" * 70_000]}}, "bad_runtime_env", "/runtime_env"),
    ({"env": {"1A": "x"}}, "bad_variable", "/env"),
    ({"env": {"REGATTA_URL": "x"}}, "bad_variable", "/env"),
    ({"env": {"A": "\0"}}, "bad_text", "/env/A"),
    ({"env": {"RAY_AUTH_TOKEN": "x"}}, "bad_variable", "/env"),
    ({"env": {"RAY_ADDRESS": "x"}}, "bad_variable", "/env"),
    ({"env": {"A": "secret:none"}}, "unknown_secret", "/secret_env"),
    ({"secret_env": {"A": "none"}}, "unknown_secret", "/secret_env"),
    ({"metadata": {"a": "x" * 70_000}}, "bad_texts", "/metadata"),
    ({"desired": "running"}, "invalid_request", "/body/desired"),
    ({"entrypoint": 5}, "invalid_request", "/body/entrypoint"),
]


NEVER_FITS = [
    ({"cpus": 9}, "9 CPUs", "8 CPUs"),
    ({"memory_bytes": (1 << 44) + 1}, "16384.001 GiB of memory", "4 GiB of memory"),
    ({"chips": 2}, "2 chips", "0 chips"),
]


@pytest.mark.parametrize(("resources", "asked", "has"), NEVER_FITS)
def test_what_never_fits_is_told_in_words(caller, resources, asked, has):
    told = caller.submit(resources=resources).json()["detail"]
    assert told == f"The job asks for {asked}, and the whole cluster has {has}."


@pytest.mark.parametrize(("body", "code", "pointer"), BAD)
def test_bad_input_is_told_and_changes_nothing(caller, body, code, pointer):
    before = everything()
    answer = caller.submit(**body)
    told = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.status_code, told["code"]) == (400 if code == "invalid_json" else 422, code)
    if pointer is not None:
        assert told["errors"][0]["pointer"].replace("/body/body", "/body") == pointer
    assert told["detail"] != ""
    assert everything() == before


def test_a_body_that_is_no_json_is_told_and_changes_nothing(caller):
    before = everything()
    answer = caller.client.post("/api/v1/jobs", "{", **JSON, **caller.auth)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert everything() == before


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b'{"entrypoint": "' + b"x" * (9 << 20) + b'"}', "application/json", 413, "too_large"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "application/json", 422, "too_deep"),
        (b'{"resources": {"cpus": NaN}}', "application/json", 400, "invalid_json"),
        (b'{"runtime_env": {"config": 1e999}}', "application/json", 422, "bad_number"),
        (b"{}", "text/plain", 415, "not_json"),
    ],
)
def test_a_body_that_no_reader_takes_is_told(caller, body, content_type, status, code):
    before = everything()
    answer = caller.client.post("/api/v1/jobs", body, content_type=content_type, **caller.auth)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert everything() == before


@pytest.mark.parametrize(
    "path", ["/jobs?q=%00", "/jobs?user=%00", "/secrets/%00", "/clusters/1/ray/api/jobs/%00"]
)
def test_a_zero_byte_in_an_address_is_told(caller, path):
    answer = caller.get(path)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def files_of(settings):
    objects = settings.REGATTA_HOME.glob("objects/**/*")
    return sorted(file for file in objects if file.is_file())


@pytest.mark.parametrize(
    ("packed", "code"),
    [
        (b"not a zip", "not_a_zip"),
        (a_zip_that_leaves(), "leaves_its_folder"),
        (zeros(64), "compressed_too_much"),
    ],
)
def test_a_bad_package_is_refused_and_nothing_of_it_is_kept(caller, packed, code, settings):
    before, files = everything(), files_of(settings)
    answer = caller.upload(packed)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert everything() == before
    assert files_of(settings) == files


def test_a_package_is_kept_once_and_jobs_run_in_it(caller):
    packed = a_zip(("main.py", b"print(1)"))
    first, again = caller.upload(packed), caller.upload(packed)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    name = first.json()["name"]
    assert caller.get("/packages").json()["items"] == [first.json()]
    assert caller.submit(package=name).json()["package"] == name


def test_a_script_becomes_a_package_and_has_a_usual_command(caller):
    told = caller.submit(script="print(1)", entrypoint="").json()
    assert told["entrypoint"] == "python main.py"
    assert told["package"] == Package.objects.get().name
    caller.submit(script="print(1)", entrypoint="")
    assert Package.objects.count() == 1


def objects(settings):
    return [file.name for file in files_of(settings)]


@pytest.fixture
def own_store(settings, tmp_path):
    settings.REGATTA_HOME = tmp_path
    return settings


def test_a_deleted_package_is_gone_and_may_be_uploaded_again(
    caller, own_store, django_capture_on_commit_callbacks
):
    packed = a_zip(("main.py", b"print(1)"))
    first = caller.upload(packed).json()
    with django_capture_on_commit_callbacks(execute=True):
        assert caller.send("delete", f"/packages/{first['id']}").status_code == 204
    assert caller.send("delete", f"/packages/{first['id']}").status_code == 404
    assert caller.get("/packages").json()["items"] == []
    assert caller.submit(package=first["name"]).json()["code"] == "unknown_package"
    assert objects(own_store) == []
    assert AuditEvent.objects.filter(action="package.delete", subject=first["name"]).count() == 1
    again = caller.upload(packed)
    assert (again.status_code, again.json()["name"]) == (201, first["name"])
    assert caller.submit(package=first["name"]).status_code == 202
    assert objects(own_store) == [first["sha256"]]


def test_an_object_stays_while_any_package_stands_for_it(
    caller, own_store, django_capture_on_commit_callbacks
):
    packed = a_zip(("main.py", b"print(1)"))
    other = Caller(a_team())
    mine, theirs = caller.upload(packed).json(), other.upload(packed).json()
    by_ray = packages.save_package([packed], team=caller.team, actor="t", name="ray.zip")[0]
    kept = []
    for who, pk in ((caller, mine["id"]), (other, theirs["id"]), (caller, by_ray.pk)):
        with django_capture_on_commit_callbacks(execute=True):
            assert who.send("delete", f"/packages/{pk}").status_code == 204
        kept.append(objects(own_store))
    assert kept == [[mine["sha256"]], [mine["sha256"]], []]


@pytest.mark.parametrize(
    "how",
    [
        lambda name: {"package": name},
        lambda name: {"runtime_env": {"working_dir": f"gcs://{name}"}},
        lambda name: {"runtime_env": {"py_modules": [f"gcs://{name}"]}},
    ],
)
def test_a_package_that_a_live_job_names_is_not_deleted(caller, how):
    package = caller.upload(a_zip(("main.py", b"print(1)"))).json()
    job = caller.submit(**how(package["name"])).json()
    before = everything()
    answer = caller.send("delete", f"/packages/{package['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "package_in_use")
    assert str(job["id"]) in answer.json()["detail"]
    assert everything() == before
    end(job["id"])
    assert caller.send("delete", f"/packages/{package['id']}").status_code == 204


def test_a_refused_submit_leaves_no_package_and_no_object(caller, own_store):
    before = everything()
    asks = [{"resources": {"cpus": 9}}, {"cluster_id": 99}, {"env": {"A": "secret:none"}}]
    for ask in asks:
        assert caller.submit(script="print(1)", **ask).status_code == 422
    assert everything() == before
    assert objects(own_store) == []


def test_what_a_killed_process_left_in_the_store_is_dropped(caller, own_store):
    package = caller.upload(a_zip(("main.py", b"print(1)"))).json()
    with packages.received([a_zip(("main.py", b"print(2)"))]) as upload:
        selectors.store().keep(upload.draft)
    old, new = (own_store.REGATTA_HOME / "objects/incoming" / name for name in ("old", "new"))
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    assert len(objects(own_store)) == 4
    tasks.prune()
    assert not old.exists()
    new.unlink()
    assert objects(own_store) == [package["sha256"]]


@pytest.mark.django_db(transaction=True)
def test_deleting_and_uploading_at_once_never_leaves_a_package_without_its_object(own_store):
    team = a_cluster_of().team
    packed = a_zip(("main.py", b"at once"))
    barrier = Barrier(2)

    def upload():
        try:
            barrier.wait()
            packages.save_package([packed], team=team, actor="test")
        finally:
            connection.close()

    def delete(package):
        try:
            barrier.wait()
            packages.delete_package(package, actor="test")
        finally:
            connection.close()

    for _turn in range(20):
        package, _new = packages.save_package([packed], team=team, actor="test")
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(upload), pool.submit(delete, package)]:
                done.result()
        for kept in selectors.packages(team):
            assert selectors.store().local_path(kept.sha256).read_bytes() == packed


def test_nobody_sees_a_secret_again(caller):
    assert caller.send("put", "/secrets/hf", {"value": "s3cret"}).status_code == 204
    job = caller.submit(env={"TOKEN": "secret:hf"}).json()
    answers = [caller.get("/secrets"), caller.get("/secrets/hf"), caller.get(f"/jobs/{job['id']}")]
    assert all(b"s3cret" not in answer.content for answer in answers)
    assert "s3cret" not in Secret.objects.get().sealed
    assert "s3cret" not in str(list(AuditEvent.objects.values()))
    assert job["secret_env"] == {"TOKEN": "hf"}
    assert caller.get("/secrets").json()["items"][0]["name"] == "hf"
    assert caller.send("delete", "/secrets/hf").status_code == 204
    assert caller.get("/secrets/hf").status_code == 404


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("a", ""), ("a", "\0"), ("é", "x")])
def test_a_bad_secret_is_refused(caller, name, value):
    before = everything()
    assert caller.send("put", f"/secrets/{name}", {"value": value}).status_code == 422
    assert everything() == before


def end(job_id, seen=Seen.SUCCEEDED):
    world = World()
    world.sweep(3)
    world.launcher.put(the_attempt(Job.objects.get(pk=job_id)).handle, seen)
    world.sweep(2)


def test_a_job_is_stopped_tried_again_cloned_and_deleted(caller):
    pk = caller.submit().json()["id"]
    assert caller.send("delete", f"/jobs/{pk}").json()["code"] == "not_ended"
    assert caller.send("post", f"/jobs/{pk}/attempts").json()["code"] == "not_ended"
    stopped = caller.send("put", f"/jobs/{pk}/desired-state", {"desired": "stopped"})
    assert (stopped.status_code, stopped.json()["state"]["state"]) == (202, "stopped")
    resumed = caller.send("put", f"/jobs/{pk}/desired-state", {"desired": "running"})
    assert (resumed.status_code, resumed.json()["code"]) == (409, "cannot_resume")
    again = caller.send("post", f"/jobs/{pk}/attempts")
    assert (again.status_code, again.json()["attempt_number"]) == (202, 2)
    end(pk)
    clone = caller.send("post", "/jobs", {"clone_of": pk, "name": "b", "resources": {"cpus": 3}})
    told = clone.json()
    assert (told["name"], told["entrypoint"], told["clone_of"]) == ("b", "python main.py", pk)
    assert told["resources"]["cpus"] == 3
    assert caller.send("delete", f"/jobs/{pk}").status_code == 204
    assert caller.get(f"/jobs/{pk}").status_code == 404
    assert [item["id"] for item in caller.get("/jobs").json()["items"]] == [told["id"]]
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert [action for action in actions if action.startswith("job.")] == [
        "job.submit",
        "job.stop",
        "job.retry",
        "job.submit",
        "job.delete",
    ]


def test_a_write_that_rests_on_old_news_is_refused(caller):
    job = caller.submit().json()
    path, wish = f"/jobs/{job['id']}/desired-state", {"desired": "stopped"}
    stale = caller.send("put", path, wish, **{"If-Match": '"7"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "changed_meanwhile")
    assert Job.objects.get().desired == "running"
    fresh = caller.send("put", path, wish, **{"If-Match": f'"{job["state"]["generation"]}"'})
    assert fresh.status_code == 202


def test_attempts_and_events_tell_the_whole_story(caller):
    pk = caller.submit(retries=1).json()["id"]
    end(pk, Seen.FAILED)
    attempts = caller.get(f"/jobs/{pk}/attempts").json()["items"]
    assert [(one["number"], one["state"]["state"]) for one in attempts] == [
        (2, "starting"),
        (1, "failed"),
    ]
    assert attempts[1]["evidence"] == {"kind": "ray_terminal_status", "ray_status": "failed"}
    events = caller.get(f"/jobs/{pk}/events").json()["items"]
    assert [(one["attempt"], one["seq"], one["new"]) for one in events] == [
        (1, 1, "starting"),
        (1, 2, "running"),
        (1, 3, "failed"),
        (2, 1, "starting"),
    ]
    assert all(one["message"] for one in events)


def test_progress_is_shown_with_the_time_left_and_old_news_is_dropped(caller):
    pk = caller.submit().json()["id"]
    World().sweep(3)
    attempt = the_attempt()
    services.note_progress(attempt.pk, step=10, total_steps=100, loss=4.0)
    assert caller.get(f"/jobs/{pk}").json()["eta_s"] is None  # one step tells no pace
    began = Job.objects.get().progress["first_at_s"]
    services.note_progress(attempt.pk, step=50, total_steps=100, loss=2.5)
    services.note_progress(attempt.pk, step=40, total_steps=100, loss=9.0)
    services.note_progress(attempt.pk, tokens_per_s=7.0)
    told = caller.get(f"/jobs/{pk}").json()
    assert told["progress"] == {"step": 50, "total_steps": 100, "loss": 2.5, "tokens_per_s": 7.0}
    pace_s = (time.time() - began) / (50 - 10)
    assert told["eta_s"] == pytest.approx(50 * pace_s, rel=0.5)


def test_a_list_is_narrowed_and_paged_without_gap_or_double(caller):
    cluster = a_cluster_of(caller.team)
    other = a_member(caller.team)
    mine = [a_job(cluster, name=f"Train {number}") for number in range(5)]
    theirs = a_job(cluster, name="Eval", user=other)
    a_job()  # of another team
    services.stop_job(mine[0], actor="test")

    def ids(**query):
        return [item["id"] for item in caller.get("/jobs", **query).json()["items"]]

    every = [job.pk for job in [theirs, *reversed(mine)]]
    assert ids() == every
    assert ids(state="stopped") == [mine[0].pk]
    assert ids(user=other.username) == [theirs.pk]
    assert ids(q="rain") == every[1:]
    assert ids(q="TRAIN 3") == [mine[3].pk]
    assert ids(cluster_id=cluster.pk) == every
    assert ids(cluster_id=999_999) == []
    seen, cursor = [], ""
    while cursor is not None:
        answer = caller.get("/jobs", limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in answer["items"]]
        cursor = answer["next"]
    assert seen == every
    item = caller.get("/jobs").json()["items"][0]
    assert (item["name"], item["cluster_name"], item["user"]) == (
        "Eval",
        cluster.name,
        other.username,
    )
    assert item["state"]["state"] == "queued"


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"state": "x"}])
def test_a_list_refuses_what_it_does_not_know(caller, query):
    assert caller.get("/jobs", **query).status_code == 422


def test_a_list_asks_as_little_for_fifty_jobs_as_for_one(caller, django_assert_num_queries):
    cluster = a_cluster_of(caller.team)
    for _ in range(50):
        a_job(cluster)
    caller.get("/jobs")
    with django_assert_num_queries(2):  # the token with its membership, the list
        assert len(caller.get("/jobs").json()["items"]) == 50


def test_a_foreign_job_cannot_be_told_from_none(caller):
    job = a_job()
    own = Caller(job.team)
    services.stop_job(job, actor="test")
    before = everything()
    for call in (
        lambda who: who.get(f"/jobs/{job.pk}"),
        lambda who: who.get(f"/jobs/{job.pk}/attempts"),
        lambda who: who.get(f"/jobs/{job.pk}/events"),
        lambda who: who.send("put", f"/jobs/{job.pk}/desired-state", {"desired": "stopped"}),
        lambda who: who.send("post", f"/jobs/{job.pk}/attempts"),
        lambda who: who.send("delete", f"/jobs/{job.pk}"),
        lambda who: who.send("post", "/jobs", {"clone_of": job.pk, "name": "x"}),
    ):
        assert call(caller).status_code == 404
    before[-2:] = everything()[-2:]
    assert everything() == before
    assert own.get(f"/jobs/{job.pk}").status_code == 200
    assert caller.get(f"/jobs/{1 << 70}").status_code == 404


def test_a_foreign_cluster_is_unknown(caller):
    foreign = a_cluster_of(a_team())
    answer = caller.submit(cluster_id=foreign.pk)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_cluster")


def test_a_token_may_do_what_its_scopes_say_and_no_more():
    team = a_cluster_of().team
    viewer = Caller(team, user=a_member(team, Role.VIEWER), scopes=["jobs:read"])
    before = everything()
    assert viewer.get("/jobs").status_code == 200
    assert viewer.submit().status_code == 403
    assert viewer.send("put", "/secrets/a", {"value": "x"}).status_code == 403
    assert viewer.upload(a_zip()).status_code == 403
    assert everything() == before


@pytest.mark.parametrize("how", ["expired", "revoked", "unknown", "none"])
def test_a_token_that_does_not_work_is_answered_so(caller, how):
    if how == "expired":
        ApiToken.objects.update(expires_at="2020-01-01T00:00Z")
    elif how == "revoked":
        ApiToken.objects.update(revoked_at="2020-01-01T00:00Z")
    elif how == "unknown":
        caller.auth = bearer("rgt_00000000_" + "x" * 43)
    else:
        caller.auth = {"headers": {}}
    before = everything()
    answer = caller.submit()
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert everything() == before


def test_a_kept_answer_is_not_told_to_a_token_that_works_no_more(caller):
    key, body = {"Idempotency-Key": "k"}, {"name": "a", "entrypoint": "sleep 1"}
    assert caller.send("post", "/jobs", body, **key).status_code == 202
    ApiToken.objects.update(revoked_at="2020-01-01T00:00Z")
    assert caller.send("post", "/jobs", body, **key).status_code == 401


def test_a_key_is_the_tokens_however_the_word_bearer_is_written(caller):
    key, body = {"Idempotency-Key": "k"}, {"name": "a", "entrypoint": "sleep 1"}
    written = caller.auth["headers"]["Authorization"]
    made = set()
    for header in (
        written,
        written.replace("Bearer", "bearer"),
        written.replace("Bearer", "BEARER"),
    ):
        answer = caller.send("post", "/jobs", body, Authorization=header, **key)
        made.add(answer.json()["id"])
    assert made == {Job.objects.get().pk}
    basic = caller.send(
        "post", "/jobs", body, Authorization=written.replace("Bearer", "Basic"), **key
    )
    assert basic.status_code == 401


def test_two_tokens_may_choose_the_same_key(caller):
    key, other = {"Idempotency-Key": "k"}, Caller(caller.team)
    body = {"name": "a", "entrypoint": "sleep 1"}
    made = {one.send("post", "/jobs", body, **key).json()["id"] for one in (caller, other)}
    assert len(made) == 2


def test_a_job_without_a_name_is_named_by_what_can_be_seen_of_its_command(caller):
    told = caller.submit(name="", entrypoint="echo \u202e olleh").json()
    assert (told["name"], told["entrypoint"]) == ("echo  olleh", "echo \u202e olleh")


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_with_one_key_make_one_job():
    caller = Caller(a_cluster_of().team)
    gate = Barrier(50)
    body = {"name": "a", "entrypoint": "sleep 1"}

    def ask(_):
        gate.wait()
        try:
            return caller.send("post", "/jobs", body, **{"Idempotency-Key": "k"}).json()["id"]
        finally:
            connection.close()

    with ThreadPoolExecutor(50) as pool:
        ids = set(pool.map(ask, range(50)))
    assert ids == {Job.objects.get().pk}
    assert Attempt.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_ray_id_is_taken_once_however_many_ask_at_once():
    cluster, gate = a_cluster_of(), Barrier(8)

    def ask(_):
        gate.wait()
        try:
            return a_job(cluster, ray_id="mine").pk
        except services.Refused as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(ask, range(8)))
    assert sorted(map(str, told)) == sorted(
        [str(Job.objects.get().pk), *["submission_id_taken"] * 7]
    )


@pytest.mark.parametrize(
    "runtime_env",
    [
        {"pip": 5},
        {"conda": ["a"]},
        {"config": 5},
        {"working_dir": 5},
        {"working_dir": "/etc"},
        {"working_dir": "file:///etc"},
        {"py_modules": "gcs://a.zip"},
        {"py_modules": ["/etc"]},
    ],
    ids=str,
)
def test_a_runtime_env_that_ray_would_choke_on_is_refused_at_submit(caller, runtime_env):
    answer = caller.submit(runtime_env=runtime_env)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_runtime_env")
    assert not Job.objects.exists()
