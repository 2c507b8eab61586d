"""What Ray's own clients are answered: its shapes and words, with the portal's rights."""

from __future__ import annotations

import json

import pytest
from django.test import Client
from jobs import World, a_cluster_of, a_job, the_attempt
from packages import a_zip, a_zip_that_leaves, zeros
from people import a_member, a_token, bearer

from apps.accounts.models import AuditEvent
from apps.accounts.scopes import Role
from apps.jobs import packages, secrets, services
from apps.jobs.models import Attempt, Job, Package, Secret
from regatta.lifecycle.attempt import Seen

pytestmark = pytest.mark.django_db
NAME = "_ray_pkg_0123456789abcdef.zip"


class RayClient:
    """Asks as `ray.job_submission.JobSubmissionClient` does."""

    def __init__(self, team, *, prefix="", **token):
        self.client, self.prefix = Client(), prefix
        self.headers = bearer(a_token(team, **token))["headers"]

    def ask(self, method, path, data=None, *, content_type="application/json", **headers):
        data = json.dumps(data) if isinstance(data, dict | list) else data
        call = getattr(self.client, method)
        url = f"{self.prefix}/api/{path}"
        return call(url, data, content_type=content_type, headers={**self.headers, **headers})

    def get(self, path, **headers):
        url = f"{self.prefix}/api/{path}"
        return self.client.get(url, headers={**self.headers, **headers})

    def submit(self, headers=None, **body):
        return self.ask("post", "jobs/", {"entrypoint": "python main.py"} | body, **headers or {})

    def put(self, name, packed):
        return self.ask("put", f"packages/{name}", packed, content_type="")


@pytest.fixture
def cluster():
    return a_cluster_of()


@pytest.fixture
def ray(cluster):
    return RayClient(cluster.team)


def text(answer):
    return answer.status_code, answer.content.decode()


def counts():
    return [table.objects.count() for table in (Job, Attempt, Package, Secret, AuditEvent)]


def test_the_version_is_one_that_clients_take(ray):
    told = ray.get("version").json()
    assert (told["version"], told["ray_version"]) == ("4", "2.60.0")


def test_a_package_is_looked_for_sent_and_found(ray, cluster):
    assert text(ray.get(f"packages/gcs/{NAME}")) == (404, f"Package gcs://{NAME} does not exist")
    assert ray.put(f"gcs/{NAME}", a_zip(("main.py", b"x"))).status_code == 200
    assert ray.get(f"packages/gcs/{NAME}").status_code == 200
    kept = Package.objects.get()
    assert (kept.team, kept.name) == (cluster.team, NAME)


def test_a_name_stands_for_its_first_content_for_ever(ray):
    ray.put(f"gcs/{NAME}", a_zip(("main.py", b"x")))
    first = Package.objects.get().sha256
    assert ray.put(f"gcs/{NAME}", a_zip(("main.py", b"y"))).status_code == 200
    assert Package.objects.get().sha256 == first


def test_a_deleted_package_is_missing_for_rays_clients_which_then_send_it_again(ray):
    ray.put(f"gcs/{NAME}", a_zip(("main.py", b"x")))
    packages.delete_package(Package.objects.get(), actor="test")
    assert ray.get(f"packages/gcs/{NAME}").status_code == 404
    assert ray.put(f"gcs/{NAME}", a_zip(("main.py", b"y"))).status_code == 200
    assert ray.get(f"packages/gcs/{NAME}").status_code == 200
    assert ray.submit(runtime_env={"working_dir": f"gcs://{NAME}"}).status_code == 200


@pytest.mark.parametrize(
    ("name", "packed", "status"),
    [
        (f"gcs/{NAME}", a_zip_that_leaves(), 422),
        (f"gcs/{NAME}", zeros(64), 422),
        (f"gcs/{NAME}", b"no zip", 422),
        (f"s3/{NAME}", a_zip(), 400),
        ("gcs/x.tar.gz", a_zip(), 400),
        ("gcs/..zip", a_zip(), 400),
    ],
)
def test_a_bad_package_is_refused_in_words_and_nothing_is_kept(ray, name, packed, status):
    before = counts()
    answer = ray.put(name, packed)
    assert (answer.status_code, answer["Content-Type"]) == (status, "text/plain; charset=utf-8")
    assert counts() == before


def test_a_job_is_submitted_as_ray_does(ray, cluster):
    ray.put(f"gcs/{NAME}", a_zip(("main.py", b"x")))
    answer = ray.submit(
        submission_id="mine",
        runtime_env={
            "working_dir": f"gcs://{NAME}",
            "env_vars": {"A": "1"},
            "pip": {"packages": ["x"], "pip_check": False},
            "_ray_commit": "abc",
        },
        metadata={"job_name": "Try", "k": "v"},
        entrypoint_num_cpus=2,
        entrypoint_memory=None,
    )
    assert answer.json() == {"job_id": "mine", "submission_id": "mine"}
    job = Job.objects.get()
    assert (job.name, job.source, job.ray_id, job.cluster) == ("Try", "ray", "mine", cluster)
    assert (job.package.name, job.env, job.cpus) == (NAME, {"A": "1"}, 2)
    assert job.entrypoint_resources == {"num_cpus": 2}
    assert job.metadata == {"job_name": "Try", "k": "v"}
    submitted = AuditEvent.objects.get(action="job.submit")
    assert (submitted.actor.split(":")[0], submitted.detail) == ("token", {"source": "ray"})


def test_without_an_id_of_its_own_a_job_has_the_portals(ray):
    told = ray.submit().json()
    assert told["submission_id"] == f"job-{Job.objects.get().pk}"
    assert ray.get(f"jobs/{told['submission_id']}").status_code == 200


def test_an_id_is_taken_once_and_free_again_after_deletion(ray):
    ray.submit(submission_id="mine")
    status, said = text(ray.submit(submission_id="mine"))
    assert status == 409
    assert said == (
        "Job with submission_id mine already exists. Please use a different submission_id."
    )
    assert Job.objects.count() == 1
    services.stop_job(Job.objects.get(), actor="test")
    assert ray.ask("delete", "jobs/mine").json() == {"deleted": True}
    assert ray.submit(submission_id="mine").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"entrypoint": ""},
        {"entrypoint": 5},
        {"entrypoint": "x" * 20_000},
        {"submission_id": "a b"},
        {"submission_id": "job-7"},
        {"submission_id": "../x"},
        {"metadata": {"a": 1}},
        {"metadata": []},
        {"runtime_env": []},
        {"runtime_env": {"env_vars": {"A": 1}}},
        {"entrypoint_resources": {f"r{number}": 1 for number in range(10_000)}},
        {"entrypoint_resources": {"x": -1}},
        {"runtime_env": {"working_dir": "gcs://nothing.zip"}},
        {"runtime_env": {"py_modules": ["gcs://nothing.zip"]}},
        {"runtime_env": {"container": {}}},
        {"entrypoint_num_cpus": -1},
        {"entrypoint_num_cpus": -1e-300},
        {"entrypoint_num_cpus": 1e-300},
        {"entrypoint_num_cpus": 1e300},
        {"entrypoint_num_cpus": float("nan")},
        {"entrypoint_num_cpus": float("inf")},
        {"entrypoint_num_gpus": 5e-324},
        {"entrypoint_memory": -1e-300},
        {"entrypoint_memory": float("-inf")},
        {"entrypoint_resources": {"x": 1e-300}},
        {"entrypoint_resources": {"x": float("nan")}},
        {"entrypoint_num_cpus": 99},
        {"entrypoint_num_gpus": -1},
        {"entrypoint_num_gpus": 1},
        {"entrypoint_num_cpus": "2"},
        {"entrypoint_resources": {"x": "1"}},
        {"something": 1},
    ],
)
def test_bad_input_is_refused_in_words_and_changes_nothing(ray, body):
    before = counts()
    answer = ray.submit(**body)
    assert 400 <= answer.status_code < 500
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert len(answer.content) > 10
    assert counts() == before


@pytest.mark.parametrize("body", ["", "{", "[]", '"x"', "NaN"])
def test_a_body_that_is_no_object_is_refused(ray, body):
    assert ray.ask("post", "jobs/", body).status_code == 400


def test_a_secret_is_given_by_name_and_never_told(ray, cluster):
    secrets.set_secret(team=cluster.team, name="hf", value="s3cret", actor="test")
    ray.submit(submission_id="mine", runtime_env={"env_vars": {"T": "secret:hf", "A": "1"}})
    told = ray.get("jobs/mine")
    assert told.json()["runtime_env"]["env_vars"] == {"A": "1", "T": "secret:hf"}
    assert b"s3cret" not in told.content + ray.get("jobs/").content


def test_a_job_is_told_in_rays_words_from_its_beginning_to_its_end(ray):
    ray.submit(submission_id="mine")
    world = World()

    def status():
        return ray.get("jobs/mine").json()["status"]

    told = [status()]
    for _ in range(3):
        world.sweep()
        told.append(status())
    handle = the_attempt().handle
    world.launcher.put(handle, Seen.FAILED, error_type="E", message="exit code 3")
    world.sweep(2)
    ended = ray.get("jobs/mine").json()
    assert told == ["PENDING", "PENDING", "RUNNING", "RUNNING"]
    assert (ended["status"], ended["error_type"]) == ("FAILED", "E")
    assert ended["message"] == "exit code 3"
    assert ended["end_time"] >= ended["start_time"] > 1_600_000_000_000
    listed = ray.get("jobs/").json()
    assert [(job["submission_id"], job["status"], job["type"]) for job in listed] == [
        ("mine", "FAILED", "SUBMISSION")
    ]


def test_the_answers_are_what_rays_own_models_take(ray):
    details = {
        "type",
        "job_id",
        "submission_id",
        "driver_info",
        "status",
        "entrypoint",
        "message",
        "error_type",
        "start_time",
        "end_time",
        "metadata",
        "runtime_env",
        "driver_agent_http_address",
        "driver_node_id",
        "driver_exit_code",
    }
    ray.submit(submission_id="mine")
    assert set(ray.get("jobs/mine").json()) == details
    assert set(ray.get("jobs/").json()[0]) == details


def test_stopping_says_whether_there_was_something_to_stop(ray):
    ray.submit(submission_id="mine")
    assert text(ray.ask("delete", "jobs/mine"))[0] == 409
    assert ray.ask("post", "jobs/mine/stop").json() == {"stopped": True}
    assert ray.ask("post", "jobs/mine/stop").json() == {"stopped": False}
    assert ray.get("jobs/mine").json()["status"] == "STOPPED"


@pytest.mark.parametrize("entrypoint", ["", "  ", "\u200b"])
def test_a_job_without_an_entrypoint_is_told_that_it_lacks_one(ray, entrypoint):
    status, said = text(ray.submit(entrypoint=entrypoint))
    assert (status, said.startswith("An entrypoint is a command")) == (422, True)


@pytest.mark.parametrize("name", ["none", "job-999999", "job-" + "9" * 30, "raysubmit_x"])
def test_what_is_not_there_is_missing_in_rays_words(ray, name):
    for answer in (
        ray.get(f"jobs/{name}"),
        ray.get(f"jobs/{name}/logs"),
        ray.ask("post", f"jobs/{name}/stop"),
        ray.ask("delete", f"jobs/{name}"),
    ):
        assert text(answer) == (404, f"Job {name} does not exist")


def test_another_teams_job_is_missing(ray):
    foreign = a_job(ray_id="theirs")
    assert ray.get("jobs/theirs").status_code == 404
    assert ray.get(f"jobs/job-{foreign.pk}").status_code == 404
    assert ray.get("jobs/").json() == []


def test_several_clusters_must_be_told_apart(ray, cluster):
    second = a_cluster_of(cluster.team)
    status, said = text(ray.submit())
    assert (status, Job.objects.count()) == (400, 0)
    assert cluster.name in said
    assert second.name in said
    assert f"/api/v1/clusters/{cluster.pk}/ray" in said
    ray.submit(headers={"X-Regatta-Cluster": second.name})
    ray.submit(headers={"X-Regatta-Cluster": str(cluster.pk)})
    at_its_address = RayClient(cluster.team, prefix=f"/api/v1/clusters/{second.pk}/ray")
    assert at_its_address.get("version").status_code == 200
    at_its_address.submit()
    ran_on = list(Job.objects.order_by("pk").values_list("cluster_id", flat=True))
    assert ran_on == [second.pk, cluster.pk, second.pk]
    assert len(at_its_address.get("jobs/").json()) == 2
    first = Job.objects.get(cluster=cluster)
    assert at_its_address.get(f"jobs/job-{first.pk}").status_code == 404


def test_a_team_without_a_cluster_is_told_to_make_one(ray, cluster):
    cluster.delete()
    status, said = text(ray.submit())
    assert status == 422
    assert "cluster" in said


def test_another_teams_cluster_is_missing(ray):
    foreign = a_cluster_of()
    there = RayClient(the_team_of(ray), prefix=f"/api/v1/clusters/{foreign.pk}/ray")
    before = counts()
    assert [there.get("version").status_code, there.submit().status_code] == [404, 404]
    assert ray.submit(headers={"X-Regatta-Cluster": foreign.name}).status_code == 422
    assert counts() == before


def the_team_of(ray):
    return AuditEvent.objects.filter(action="token.create").latest("pk").team


def test_rights_are_those_of_the_token(cluster):
    viewer = RayClient(
        cluster.team, user=a_member(cluster.team, Role.VIEWER), scopes=["jobs:read"]
    )
    before = counts()
    assert viewer.get("jobs/").status_code == 200
    assert viewer.submit().status_code == 403
    assert viewer.put(f"gcs/{NAME}", a_zip()).status_code == 403
    assert counts() == before


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer rgt_x"}, {"Cookie": "sid=1"}])
def test_without_a_valid_token_nothing_is_told(cluster, headers):
    client = RayClient(cluster.team)
    client.headers = headers
    assert [client.get(path).status_code for path in ("version", "jobs/")] == [401, 401]
    assert client.submit().status_code == 401
