"""Ray's own command, unmodified, against a portal and a real cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from portals import ROOT, RunningPortal, a_portal, until

from regatta.lifecycle.attempt import HandleTaken, Launch, Seen, StartRefused
from regatta.rayjobs.client import RayJobs, connect
from regatta.rayjobs.packages import pack_script

RAY = Path(sys.executable).parent / "ray"
MAIN = """
import os, sys, time
print("hello from", os.environ["WHO"], flush=True)
print("attempt", os.environ["REGATTA_ATTEMPT"], os.path.isdir(os.environ["REGATTA_OUTPUT_DIR"]))
if "fail" in sys.argv:
    sys.exit(3)
if "sleep" in sys.argv:
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def portal():
    with a_portal() as running:
        running.a_cluster()
        yield running


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "main.py").write_text(MAIN)
    return tmp_path


def ray(portal: RunningPortal, *words: str, token: str = "", address: str = ""):
    """`ray job …` as a person types it, with the portal's address and token."""
    given = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token or portal.token}
    words = (words[0], "--address", address or portal.at.url, *words[1:])
    ran = subprocess.run(
        [str(RAY), "job", *words],
        env=given | auth,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def submit(portal, folder, *words, env=None, options=()):
    environment = json.dumps({"env_vars": {"WHO": "me"} | (env or {})})
    asked = ("submit", "--working-dir", str(folder), "--runtime-env-json", environment, *options)
    return ray(portal, *asked, "--", "python", "main.py", *words)


def test_a_job_is_submitted_followed_listed_and_deleted(portal, folder):
    code, said = submit(portal, folder, options=("--submission-id", "first-try"))
    assert code == 0, said
    assert "hello from me" in said
    assert "attempt 1 True" in said
    assert "Job 'first-try' succeeded" in said
    listed = ray(portal, "list")[1]
    assert "submission_id='first-try'" in listed
    assert "SUCCEEDED" in listed
    assert "succeeded" in ray(portal, "status", "first-try")[1]
    code, log = ray(portal, "logs", "first-try")
    assert (code, "hello from me" in log) == (0, True)
    code, followed = ray(portal, "logs", "-f", "first-try")
    assert (code, "hello from me" in followed) == (0, True)
    code, said = submit(portal, folder, options=("--submission-id", "first-try", "--no-wait"))
    assert code != 0
    assert "Job with submission_id first-try already exists" in said
    assert ray(portal, "delete", "first-try")[0] == 0
    code, said = ray(portal, "status", "first-try")
    assert code != 0
    assert "Job first-try does not exist" in said


def test_a_job_that_fails_ends_the_command_with_an_error(portal, folder):
    code, said = submit(portal, folder, "fail")
    assert code == 1
    assert "failed" in said
    newest = portal.api.get("/jobs", limit=1)["items"][0]
    assert (newest["state"]["state"], newest["source"]) == ("failed", "ray")
    evidence = portal.api.get(f"/jobs/{newest['id']}/attempts")["items"][0]["evidence"]
    assert (evidence["exit_code"], evidence["kind"]) == (3, "ray_terminal_status")


def test_a_running_job_is_stopped_and_its_log_stays(portal, folder):
    code, said = submit(portal, folder, "sleep", options=("--no-wait",))
    assert code == 0, said
    name = re.search(r"Job '(job-[0-9]+)' submitted successfully", said)[1]
    until(lambda: "RUNNING" in ray(portal, "status", name)[1], "it runs")
    until(lambda: "hello from me" in ray(portal, "logs", name)[1], "its log is kept")
    code, said = ray(portal, "delete", name)
    assert code != 0
    code, said = ray(portal, "stop", name)
    assert (code, "was stopped" in said) == (0, True)
    assert "hello from me" in ray(portal, "logs", name)[1]


def test_a_secret_reaches_the_job_and_nobody_else(portal, folder):
    portal.api._call("PUT", "/secrets/who", json={"value": "s3cret-name"})
    code, said = submit(portal, folder, env={"WHO": "secret:who"})
    assert code == 0, said
    assert "hello from ***" in said or "s3cret-name" not in said
    assert "s3cret-name" not in ray(portal, "list")[1]


def test_a_wrong_token_is_told_readably(portal):
    code, said = ray(portal, "list", token="rgt_00000000_" + "x" * 43)
    assert code != 0
    assert "Authentication required" in said


def test_a_cluster_has_an_address_of_its_own(portal, folder):
    pk = portal.api.get("/clusters")["items"][0]["id"]
    there = f"{portal.at.url}/api/v1/clusters/{pk}/ray"
    code, said = ray(portal, "submit", "--", "echo", "at home", address=there)
    assert code == 0, said
    assert "at home" in said


@pytest.fixture
def head(portal):
    """A client of the cluster's own head, past the portal."""
    pk = portal.api.get("/clusters")["items"][0]["id"]
    asked = (
        "from apps.clusters.selectors import endpoint; "
        f"e = endpoint({pk}); print('HEAD', e.address, e.token)"
    )
    said = portal.manage("shell", "-v", "0", "-c", asked)
    address, token = re.search(r"HEAD (\S+) (\S+)", said).groups()
    with connect(address, token) as http:
        yield RayJobs(http)


def a_launch(handle, **fields):
    fields = {"metadata": {"regatta_attempt": handle}, "entrypoint": "sleep 60"} | fields
    return Launch(handle=handle, **fields)


def test_a_real_ray_keeps_the_promises_of_a_launcher(head, tmp_path):
    package = tmp_path / "p"
    package.write_bytes(pack_script("import time; time.sleep(60)"))
    launch = a_launch(
        "contract-1",
        entrypoint="python main.py",
        runtime_env={"working_dir": "gcs://_ray_pkg_contract.zip"},
        packages={"_ray_pkg_contract.zip": package},
    )
    assert head.look("contract-1").seen is Seen.ABSENT
    head.stop("contract-1")
    head.start(launch)
    head.start(launch)
    until(lambda: head.look("contract-1").seen is Seen.RUNNING, "it runs")
    with pytest.raises(HandleTaken):
        head.start(a_launch("contract-1", metadata={"regatta_attempt": "somebody else's"}))
    head.stop("contract-1")
    until(lambda: head.look("contract-1").seen is Seen.STOPPED, "it stopped")
    head.stop("contract-1")


def test_a_real_ray_says_what_it_will_never_start(head):
    with pytest.raises(StartRefused):
        head.start(a_launch("contract-2", entrypoint_resources={"num_cpus": "many"}))
    assert head.look("contract-2").seen is Seen.ABSENT
