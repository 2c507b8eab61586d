"""What every launcher promises: one set of tests, for the fake and for the real client."""

from __future__ import annotations

import json

import pytest
from httpx import HTTPStatusError, MockTransport, Response

from regatta.lifecycle.attempt import (
    LIVE,
    HandleTaken,
    Launch,
    Seen,
    StartFailed,
    StartRefused,
)
from regatta.rayjobs.client import ANSWER_BYTES, BadAnswer, RayJobs, connect
from regatta.testing.launchers import FakeLauncher

HANDLE = "job-1-a1"


class RayStandIn:
    """The part of Ray's Jobs API that the client uses, in the words of Ray 2.60."""

    def __init__(self):
        self.jobs, self.packages, self.requests = {}, {}, []

    def __call__(self, request):
        self.requests.append(request)
        if request.headers.get("Authorization") != "Bearer secret":
            return Response(401, text="Unauthorized: Missing authentication token")
        _, _, kind, *rest = request.url.path.split("/")
        return self.package(request, rest[-1]) if kind == "packages" else self.job(request, rest)

    def package(self, request, name):
        if request.method == "PUT":
            self.packages[name] = request.read()
        elif name not in self.packages:
            return Response(404, text=f"Package gcs://{name} does not exist")
        return Response(200)

    def job(self, request, rest):
        match request.method, rest:
            case "GET", [handle] if handle in self.jobs:
                return Response(200, json=self.jobs[handle])
            case "POST", [""]:
                return self.submit(json.loads(request.content))
            case "POST", [handle, "stop"]:
                self.jobs[handle]["status"] = "STOPPED"
                return Response(200, json={"stopped": True})
        return Response(404, text=f"Job {rest[0]} does not exist")

    def submit(self, body):
        handle = body["submission_id"]
        if handle in self.jobs:
            trouble = f"ValueError: Job with submission_id {handle} already exists."
            return Response(500, text=f"Request failed with status code 400: {trouble}")
        self.jobs[handle] = {**body, "status": "RUNNING", "message": "Job is currently running."}
        return Response(200, json={"submission_id": handle, "job_id": handle})


def over_http(answer, token="secret"):
    http = connect("http://head:8265", token)
    http._transport = MockTransport(answer)
    return RayJobs(http)


def answering(*args, **kwargs):
    return over_http(lambda request: Response(*args, **kwargs))


def a_launch(**fields):
    fields = {"metadata": {"regatta_attempt": HANDLE}} | fields
    return Launch(handle=HANDLE, entrypoint="sleep 60", **fields)


@pytest.fixture(params=["fake", "ray"])
def launcher(request):
    return FakeLauncher() if request.param == "fake" else over_http(RayStandIn())


def test_what_was_never_started_is_absent(launcher):
    assert launcher.look(HANDLE).seen is Seen.ABSENT


def test_starting_twice_is_the_same_as_starting_once(launcher):
    launcher.start(a_launch())
    launcher.start(a_launch())
    assert launcher.look(HANDLE).seen in LIVE


def test_somebody_elses_work_under_the_handle_is_left_alone(launcher):
    launcher.start(a_launch(metadata={"regatta_attempt": "another portal's"}))
    with pytest.raises(HandleTaken):
        launcher.start(a_launch())
    assert launcher.look(HANDLE).seen in LIVE


def test_stopping_twice_is_the_same_as_stopping_once(launcher):
    launcher.start(a_launch())
    launcher.stop(HANDLE)
    launcher.stop(HANDLE)
    assert launcher.look(HANDLE).seen is Seen.STOPPED


def test_stopping_what_was_never_started_does_nothing(launcher):
    launcher.stop(HANDLE)
    assert launcher.look(HANDLE).seen is Seen.ABSENT


def test_a_start_tells_ray_all_that_the_launch_holds():
    ray = RayStandIn()
    over_http(ray).start(
        a_launch(
            runtime_env={"env_vars": {"A": "1"}},
            entrypoint_resources={"num_cpus": 0.5, "label_selector": {"zone": "a"}},
        )
    )
    assert json.loads(ray.requests[-1].content) == {
        "submission_id": HANDLE,
        "entrypoint": "sleep 60",
        "runtime_env": {"env_vars": {"A": "1"}},
        "metadata": {"regatta_attempt": HANDLE},
        "entrypoint_num_cpus": 0.5,
        "entrypoint_label_selector": {"zone": "a"},
    }


def test_a_package_is_brought_once_and_before_the_start(tmp_path):
    ray, package = RayStandIn(), tmp_path / "object"
    package.write_bytes(b"bytes" * 1_000_000)
    launcher = over_http(ray)
    for _ in range(2):
        launcher.start(a_launch(packages={"_ray_pkg_1.zip": package}))
    assert ray.packages == {"_ray_pkg_1.zip": package.read_bytes()}
    methods = [request.method for request in ray.requests]
    assert methods == ["GET", "PUT", "POST", "GET", "POST", "GET"]
    assert ray.requests[1].headers["Content-Length"] == "5000000"
    assert "Transfer-Encoding" not in ray.requests[1].headers


def test_a_failure_is_told_with_all_that_ray_knows_of_it():
    sight = answering(
        200,
        json={
            "submission_id": HANDLE,
            "status": "FAILED",
            "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR",
            "message": "exit code 3",
            "driver_exit_code": 3,
            "start_time": 1,
            "end_time": 2,
        },
    ).look(HANDLE)
    told = (sight.seen, sight.error_type, sight.message, sight.exit_code, sight.ended_at_ms)
    assert told == (Seen.FAILED, "JOB_ENTRYPOINT_COMMAND_ERROR", "exit code 3", 3, 2)


TRACEBACK = """Failed: 'bad'. Full traceback:
Traceback (most recent call last):
  File "/ray/job_manager.py", line 598, in submit_job
    supervisor = self._supervisor_actor_cls.options(
ValueError: bad
"""


def a_failure(**told):
    told = {"submission_id": HANDLE, "status": "FAILED"} | told
    return answering(200, json=told).look(HANDLE)


def test_rays_words_are_told_without_its_frames_and_a_jobs_own_log_with_them():
    own = "JOB_ENTRYPOINT_COMMAND_ERROR"
    assert a_failure(message=TRACEBACK).message == (
        "Failed: 'bad'. Full traceback:\nValueError: bad\n"
    )
    assert a_failure(message=TRACEBACK, error_type=own).message == TRACEBACK


def test_of_long_words_both_ends_are_kept():
    said = a_failure(message="begin" + "x" * 20_000 + "ValueError: end").message
    assert said.startswith("begin")
    assert said.endswith("ValueError: end")
    assert len(said) <= 2000


@pytest.mark.parametrize(("node", "no_driver"), [(None, True), ("", True), ("abc", False)])
def test_a_failure_tells_whether_there_was_a_driver(node, no_driver):
    assert a_failure(driver_node_id=node).no_driver is no_driver


@pytest.mark.parametrize("status", [302, 401, 403, 404, 500, 502])
def test_an_answer_from_somebody_else_is_no_sight(status):
    with pytest.raises(HTTPStatusError):
        answering(status, text="no such page").look(HANDLE)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"<html>sign in</html>",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"status": "RUNNING"}',
        b'{"submission_id": "job-2-a1", "status": "FAILED"}',
        b'{"submission_id": "job-1-a1", "status": "failed"}',
        b'{"submission_id": "job-1-a1", "status": "ABSENT"}',
        b'{"submission_id": "job-1-a1", "status": "GONE"}',
        b'{"submission_id": "job-1-a1", "status": null}',
        b'{"submission_id": "job-1-a1", "status": ["FAILED"]}',
    ],
)
def test_garbage_is_no_sight(garbage):
    with pytest.raises(BadAnswer):
        answering(200, content=garbage).look(HANDLE)


def test_an_answer_without_end_is_cut_off():
    sent = []

    def endless():
        while True:
            sent.append(1)
            yield b"x" * 65_536

    with pytest.raises(BadAnswer):
        answering(200, content=endless()).look(HANDLE)
    assert len(sent) == ANSWER_BYTES // 65_536 + 1


def test_the_404_of_another_job_proves_nothing():
    with pytest.raises(HTTPStatusError):
        answering(404, text="Job job-1-a11 does not exist").look(HANDLE)


REFUSAL = "Traceback:\n  File x\nValueError: runtime_env must not be odd.\n."


@pytest.mark.parametrize(
    ("status", "text"),
    [(400, REFUSAL), (500, f"RuntimeError: Request failed with status code 400: {REFUSAL}")],
)
def test_what_ray_will_never_start_is_refused_in_its_words(status, text):
    def ray(request):
        if request.method == "POST":
            return Response(status, text=text)
        return Response(404, text=f"Job {HANDLE} does not exist")

    with pytest.raises(StartRefused, match=r"^ValueError: runtime_env must not be odd\.$"):
        over_http(ray).start(a_launch())


def test_a_start_that_ray_could_not_try_may_be_tried_again():
    def ray(request):
        if request.method == "POST":
            return Response(500, text="No available agent to submit job, please try again later.")
        return Response(404, text=f"Job {HANDLE} does not exist")

    with pytest.raises(HTTPStatusError):
        over_http(ray).start(a_launch())


def test_a_start_that_failed_inside_ray_is_told_apart_from_trouble_in_asking():
    def ray(request):
        if request.method == "POST":
            return Response(500, text="Traceback:\nRecursionError: too deep")
        return Response(404, text=f"Job {HANDLE} does not exist")

    with pytest.raises(StartFailed, match=r"^RecursionError: too deep$"):
        over_http(ray).start(a_launch())


def test_a_wrong_token_is_trouble_and_no_sight():
    with pytest.raises(HTTPStatusError):
        over_http(RayStandIn(), token="another").look(HANDLE)
