"""The command line: what it offers, refuses, and answers with; nothing is started."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from regatta import cli
from regatta.cli import demo_view, setup_checks
from regatta.cli.demo import Running, StageFailed, _check_loss, _cluster, _said, _stage
from regatta.cli.demo_view import Training, summary
from regatta.cli.portal_api import ApiTrouble, PortalApi
from regatta.embedded import portal
from regatta.embedded.portal import Portal


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    """What a command would do, instead of doing it."""
    calls: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(cli, "_call", lambda name, **given: calls.append((name, given)))
    return calls


def shell(*words: str):
    return CliRunner().invoke(cli.app, words, env={"COLUMNS": "120", "NO_COLOR": "1"})


def test_help_names_every_command():
    said = shell("--help").output
    assert [name for name in ("up", "demo", "doctor") if f" {name} " in said] == [
        "up",
        "demo",
        "doctor",
    ]


@pytest.mark.parametrize("name", ["up", "demo", "doctor"])
def test_every_command_has_an_example(name: str):
    said = shell(name, "--help")
    assert said.exit_code == 0
    assert f"Example: regatta {name}" in said.output


@pytest.mark.parametrize(
    "words", [["up", "--port", "0"], ["up", "--port", "http"], ["sail"], ["up", "--fast"]]
)
def test_wrong_use_answers_2(words: list[str], called):
    assert shell(*words).exit_code == 2
    assert called == []


@pytest.mark.parametrize(
    ("ci", "words", "leave"),
    [
        ("", [], False),
        ("false", [], False),
        ("0", [], False),
        ("true", [], True),
        ("woodpecker", [], True),
        ("", ["--exit"], True),
    ],
)
def test_a_demonstration_ends_by_itself_where_nobody_watches(
    monkeypatch: pytest.MonkeyPatch, called, ci: str, words: list[str], leave: bool
):
    monkeypatch.setenv("CI", ci)
    shell("demo", *words)
    assert called == [("demo", {"host": "127.0.0.1", "port": 0, "leave": leave})]


def test_help_loads_nothing_that_a_command_needs():
    heavy = ["httpx", "rich.progress", "psutil", "regatta.embedded.portal"]
    code = "import sys, regatta.cli; print([n for n in sys.argv[1:] if n in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


def test_the_web_process_trusts_no_forwarded_header_and_stops_in_time():
    argv = Portal(home=Path("/h"), host="0.0.0.0", port=81).command("web")
    assert argv[1:8] == (
        *("-m", "uvicorn", "apps.config.asgi:application"),
        *("--host", "0.0.0.0", "--port", "81"),
    )
    assert "--no-proxy-headers" in argv
    assert argv[argv.index("--timeout-graceful-shutdown") + 1] == "3"


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80")],
)
def test_the_portals_address_is_one_that_can_be_called(
    monkeypatch: pytest.MonkeyPatch, host: str, url: str
):
    monkeypatch.delenv("REGATTA_URL", raising=False)
    assert Portal(home=Path("/h"), host=host, port=80).url == url


def test_the_address_that_is_given_goes_before_ones_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REGATTA_URL", "https://regatta.example")
    assert Portal(home=Path("/h")).url == "https://regatta.example"


def test_variables_of_another_postgres_do_not_reach_the_embedded_one(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("PGHOST", "elsewhere")
    assert "PGHOST" not in Portal(home=Path("/h")).environ()
    monkeypatch.setenv("DATABASE_URL", "postgresql:///own")
    assert Portal(home=Path("/h")).environ()["PGHOST"] == "elsewhere"


@pytest.mark.parametrize(
    ("environ", "own"),
    [
        ({}, False),
        ({"BROKER_URL": ""}, False),
        ({"BROKER_URL": "redis://x"}, True),
        ({"BROKER_URL_FILE": "/run/secrets/broker"}, True),
    ],
)
def test_a_server_of_ones_own_is_named_by_value_or_by_file(environ: dict[str, str], own: bool):
    assert portal.is_set("BROKER_URL", environ) is own


def an_api(*answers: httpx.Response | Exception) -> tuple[PortalApi, list[httpx.Request]]:
    """A client whose portal gives these answers in turn."""
    asked: list[httpx.Request] = []
    rest = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        given = next(rest)
        if isinstance(given, Exception):
            raise given
        return given

    api = PortalApi("http://portal", "rgt_x")
    api._http = httpx.Client(
        transport=httpx.MockTransport(answer), base_url="http://portal/api/v1"
    )
    return api, asked


@pytest.mark.parametrize("ends", ["ready", "failed"])
def test_a_cluster_that_failed_in_an_earlier_demonstration_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, ends: str
):
    def seen(state: str, generation: int) -> httpx.Response:
        about = {"state": state, "generation": generation, "message": "Out of luck.", "reason": ""}
        return httpx.Response(200, json={"id": 1, "name": "demo", "state": about})

    there = httpx.Response(200, json={"items": [seen("failed", 7).json()]})
    quote = httpx.Response(200, json={"items": [{"quote": "OSError: no disk"}]})
    api, asked = an_api(there, seen("failed", 7), seen("failed", 7), seen(ends, 9), quote)
    monkeypatch.setattr("time.sleep", lambda _s: None)
    at = Portal(home=Path("/h"))
    with subprocess.Popen(["sleep", "60"]) as process:
        running = Running(at=at, process=process, team="demo", api=api)
        try:
            found = _cluster(Console(file=io.StringIO()), running)["state"]["generation"]
        except StageFailed as failed:
            found = failed.why
        process.kill()
    assert found == {"ready": 9, "failed": "Out of luck.\nOSError: no disk"}[ends]
    assert asked[1].method == "PUT"


def test_a_refusal_is_told_in_the_portals_own_words():
    problem = {"detail": "No such cluster.", "errors": [{"pointer": "/cluster", "code": "gone"}]}
    api, _ = an_api(httpx.Response(422, json=problem))
    with pytest.raises(ApiTrouble) as trouble:
        api.send("POST", "/jobs", {})
    assert str(trouble.value) == (
        "POST /api/v1/jobs was answered 422: No such cluster. /cluster gone"
    )


def test_an_answer_that_is_no_problem_document_is_shown_as_it_is():
    api, _ = an_api(httpx.Response(404, text="<h1>nothing</h1>"))
    with pytest.raises(ApiTrouble, match="answered 404: <h1>nothing</h1>"):
        api.get("/jobs")


def test_a_portal_that_is_started_again_is_waited_for_with_the_same_key(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _s: None)
    away = [httpx.ConnectError("refused"), httpx.Response(503, json={"detail": "soon"})]
    api, asked = an_api(*away, httpx.Response(202, json={"id": 7}))
    assert api.send("POST", "/jobs", {}, key="once") == {"id": 7}
    assert [request.headers["Idempotency-Key"] for request in asked] == ["once"] * 3


@pytest.mark.parametrize(("ending", "whole"), [("", False), ("complete", True)])
def test_a_log_is_whole_when_the_portal_says_so(ending: str, whole: bool):
    api, _ = an_api(httpx.Response(200, text="hello", headers={"X-Log-Ending": ending}))
    assert api.log(7) == ("hello", whole)


def test_the_outcome_is_read_from_what_the_job_wrote():
    log = "noise\n INFO first loss: 4.3000\nfinal loss: 1.9\nsample: The [if] statement: is\n"
    assert _said(log) == {
        "first loss": "4.3000",
        "final loss": "1.9",
        "sample": "The [if] statement: is",
    }


def test_a_training_that_its_time_limit_ended_is_told():
    log = (
        "(W pid=7) the time of 60 s is up: ended after step 122 of 300\n"
        "trained: 122 steps in 60.4 s\n"
    )
    out = io.StringIO()
    console = Console(file=out, highlight=False, markup=False, soft_wrap=True)
    summary(console, said=_said(log), took_s=90.0, cost_usd=None, links={})
    told = "122 steps in 60 s; the 60 s for training were up after 122 of 300 steps"
    assert f"Training           {told}" in out.getvalue().splitlines()


def test_a_line_about_a_job_is_printed_only_when_something_is_new(monkeypatch):
    monkeypatch.setattr(demo_view, "_LINE_S", 0.0)
    out = io.StringIO()
    state = {"state": "running", "message": "It runs on the cluster."}
    with Training(Console(file=out, markup=False, soft_wrap=True)) as training:
        for cost, progress in [
            ("0.1", {}),
            ("0.2", {}),
            ("0.3", {"step": 3}),
            ("0.4", {"step": 3}),
        ]:
            training.show({"state": state, "progress": progress, "eta_s": None, "cost_usd": cost})
    assert [line.strip() for line in out.getvalue().splitlines() if line.strip()] == [
        "It runs on the cluster.  $0.1000",
        "running  step 3  $0.3000",
    ]


@pytest.mark.parametrize("final", ["1.9", "2.5999"])
def test_a_model_that_has_learned_is_a_success(final: str):
    _check_loss({"final loss": final})


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"final loss": "2.6"}, "training: the final loss is 2.6, which is not below 2.6"),
        ({"final loss": "nan"}, "training: the final loss is nan, which is not below 2.6"),
        ({}, "training: the job did not write its final loss"),
    ],
)
def test_a_model_that_has_not_learned_fails_the_demonstration(said: dict[str, str], why: str):
    with pytest.raises(StageFailed) as failed:
        _check_loss(said)
    assert str(failed.value) == why


def test_trouble_with_the_portal_names_the_stage_that_asked_it():
    with pytest.raises(StageFailed, match="submission: POST /jobs: refused"), _stage("submission"):
        raise ApiTrouble("POST /jobs: refused")


def test_the_summary_shows_markup_in_a_sample_as_it_is():
    out = io.StringIO()
    console = Console(file=out, highlight=False, markup=False, soft_wrap=True)
    said = {"first loss": "4.3", "final loss": "1.9", "sample": "The [red]if[/] is"}
    summary(console, said=said, took_s=61.4, cost_usd="0.0123456", links={"Job": "http://p/7"})
    assert out.getvalue().splitlines() == [
        "",
        "Loss               4.3 → 1.9",
        "It writes          The [red]if[/] is",
        "Took               61 s",
        "Cost               $0.0123",
        "Job                http://p/7",
    ]


@pytest.mark.parametrize(
    ("job", "line"),
    [
        ({"progress": {}, "eta_s": None, "cost_usd": None}, "  Waiting.  $0.0000"),
        (
            {
                "progress": {"step": 3, "total_steps": 300, "loss": 2.5, "tokens_per_s": 1234.5},
                "eta_s": 61.2,
                "cost_usd": "0.5",
            },
            "  running  step 3/300  loss 2.500  1,234 tokens/s  61 s left  $0.5000",
        ),
    ],
)
def test_progress_is_told_in_a_line_where_no_bar_can_be_drawn(job, line: str):
    out = io.StringIO()
    state = {"state": "running", "message": "Waiting."}
    with Training(Console(file=out, markup=False, soft_wrap=True)) as training:
        training.show({"state": state, **job})
    assert out.getvalue().splitlines()[0] == line


def test_a_version_that_differs_from_the_lock_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(setup_checks, "_installed", {"one": "1.0", "two": "2.0+cpu"}.get)
    lock = tmp_path / "lock"
    lock.write_text("# pins\none==1.1  # why\ntwo==2.0\nabsent==3.0\n")
    [finding] = setup_checks._versions(lock)
    assert finding.what == "Installed versions differ from the lock: one 1.0 instead of 1.1"
    assert finding.advice == "Run: make -B setup"


@pytest.mark.parametrize(
    ("free_gib", "severities"), [(0.5, ["error"]), (2.0, ["warning"]), (9.0, [])]
)
def test_a_disk_that_fills_up_is_told_before_it_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_gib: float, severities: list[str]
):
    usage = type("Usage", (), {"free": int(free_gib * (1 << 30))})
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    found = setup_checks._disk(tmp_path / "not" / "there")
    assert [one.severity for one in found] == severities
