"""The API about plans: the answer of the command line, and refusals that name the field."""

from __future__ import annotations

import pytest
from people import a_team, a_token, bearer

from apps.advisor import plan_answers
from regatta.planning.hf import known_models

pytestmark = pytest.mark.django_db
ASKED = {
    "model": "llama-3-8b",
    "chip": "H100",
    "chips": 8,
    "seq_len": 8192,
    "global_batch": 64,
    "top": 3,
}


@pytest.fixture
def ask(client):
    token = bearer(a_token(a_team()))

    def post(path="search", **body):
        return client.post(f"/api/v1/plans/{path}", body, content_type="application/json", **token)

    return post


def test_a_search_answers_as_the_command_does(ask):
    answer = ask(**ASKED)
    assert answer.status_code == 200
    found = answer.json()
    assert len(found["plans"]) == 3
    assert found["evaluated"] > found["feasible"] >= found["timed"]
    first = found["plans"][0]
    assert sum(first["breakdown"].values()) == pytest.approx(first["iteration_s"])
    assert first["why"].startswith("fastest; its time goes to")


@pytest.mark.parametrize("model", known_models())
def test_a_plan_of_the_answer_is_predicted_alike(ask, model):
    """On chips that layers divide in no even way among them."""
    asked = {**ASKED, "model": model, "chips": 240, "global_batch": 480}
    for found in ask(**asked).json()["plans"]:
        alone = ask("predict", plan=found["plan"]).json()
        assert alone["iteration_s"] == pytest.approx(found["iteration_s"])
        peak = alone["peak_memory_gib"]
        assert peak == pytest.approx(found["peak_memory_gib"])
        assert sum(alone["memory_breakdown_gib"].values()) == pytest.approx(peak)
        assert alone["fits"] is True
        assert alone["tokens_per_s"] == pytest.approx(480 * 8192 / alone["iteration_s"])


def test_a_configuration_and_constraints_are_taken(ask):
    fix = {"tp": [4], "recompute": ["none", "selective"]}
    answer = ask(**{**ASKED, "model": known_models()["qwen3-8b"], "fix": fix}).json()
    assert {plan["tp"] for plan in answer["plans"]} == {4}
    assert {plan["recompute"] for plan in answer["plans"]} <= {"none", "selective"}


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"model": "no-such"}, "bad_plan", "/model"),
        ({"model": {"model_type": "odd"}}, "bad_plan", "/model_type"),
        ({"chip": "H1000"}, "bad_plan", "/chip"),
        ({"chip": "T4"}, "bad_plan", "/dtype"),
        ({"dtype": "bf17"}, "bad_plan", "/dtype"),
        ({"fix": {"tensor": [1]}}, "bad_plan", "/tensor"),
        ({"fix": {"recompute": ["some"]}}, "bad_plan", "/recompute"),
        ({"chips": 37, "global_batch": 3}, "bad_plan", "/global_batch"),
        ({"chips": 0}, "invalid_request", "/body/chips"),
        ({"colour": 1}, "invalid_request", "/body/colour"),
        ({"model": "deepseek-v3"}, "nothing_fits", None),
    ],
)
def test_what_cannot_be_planned_names_its_field(ask, changes, code, pointer):
    answer = ask(**{**ASKED, **changes})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer["Content-Type"] == "application/problem+json"
    if pointer:
        assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("plan", [{}, {"chip": "H100", "chips": 8, "model": {}, "plan": {}}])
def test_a_document_that_says_too_little_is_refused(ask, plan):
    assert ask("predict", plan=plan).json()["code"] == "bad_plan"


def test_a_space_too_large_is_refused(ask, monkeypatch):
    monkeypatch.setattr(plan_answers, "MOST_ROWS", 10)
    assert ask(**ASKED).json()["code"] == "too_many_plans"
