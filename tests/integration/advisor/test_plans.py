"""The plan explorer: what it answers, refuses and bounds."""

from __future__ import annotations

import json
import re
import shlex
from math import log2
from urllib.parse import parse_qs, urlsplit

import pytest
from clusters import a_cluster
from costs import a_price
from people import a_team, a_token, bearer, owner_of

from apps.advisor import plan_answers
from apps.clusters.services import NodeWish
from regatta.planning import document
from regatta.planning.hf import known_models

SMALL = {"model": "llama-3-8b", "where": "catalogue", "chip": "H100-80GB", "count": "8"}
SMALL |= {"seq_len": "8192", "global_batch": "64", "dtype": "bf16", "tokens_b": "10"}


@pytest.fixture
def team(db):
    return a_team()


@pytest.fixture
def ask(client, team):
    client.force_login(owner_of(team))

    def get(**changes):
        said = {name: value for name, value in {**SMALL, **changes}.items() if value is not None}
        return client.get(f"/t/{team.slug}/plan/", said)

    return get


def test_the_page_begins_with_an_example(client, team):
    client.force_login(owner_of(team))
    answer = client.get(f"/t/{team.slug}/plan/")
    assert answer.status_code == 200
    found = answer.context["answer"]
    assert found.rows[0].rank == 1
    assert found.chosen.peak_bytes <= 0.95 * found.memory_bytes
    assert not found.tight


def test_a_plan_that_leaves_hardly_any_memory_is_called_tight(ask):
    answer = ask(model="llama-3.1-70b", count="64", global_batch="512")
    free = 1 - answer.context["answer"].chosen.peak_bytes / answer.context["answer"].memory_bytes
    assert 0 <= free < 0.05, free
    assert ">tight</span>" in answer.content.decode()


def test_plans_are_ranked_with_reasons_and_money(ask):
    answer = ask()
    found = answer.context["answer"]
    assert [row.rank for row in found.rows] == list(range(1, plan_answers.TOP + 1))
    times = [row.item.iteration_s for row in found.rows]
    assert times == sorted(times)
    assert found.money.usd == pytest.approx(found.money.hour_usd * found.money.seconds / 3600)
    per_step = found.money.hour_usd * found.chosen.iteration_s / 3600
    assert found.money.step_usd == pytest.approx(per_step)
    assert found.money.billion_usd == pytest.approx(per_step / (64 * 8192) * 1e9)
    assert sum(part.piece.value for part in found.time) == pytest.approx(times[0])
    body = answer.content.decode()
    assert "estimated price" in body
    assert "plans;dur=" in answer["Server-Timing"]


def _shown(part):
    """The inputs of a part by their names, as numbers in the units that stand beside them."""
    said = {one.name.removeprefix("H100-80GB: "): one.value.split()[0] for one in part.inputs}
    return {k: float(v.replace(",", "")) for k, v in said.items() if v[0].isdigit()}


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": "4-2-2-2-1-1-4-1-0-1-1-0", "count": "16"},
        {"plan": "8-1-1-2-1-1-8-1-0-1-0-1", "count": "16", "dtype": "fp32"},
        {"plan": "1-2-2-16-1-1-1-1-0-1-1-2", "count": "32", "dtype": "fp8"},
    ],
)
def test_parts_can_be_computed_from_what_they_open_to(ask, changes):
    found = ask(**changes).context["answer"]
    assert found.rank is None
    time = {part.piece.name: (_shown(part), part.piece.value) for part in found.time}
    held = {part.piece.name: (_shown(part), part.piece.value / 2**30) for part in found.memory}

    def weights(x, stage):
        cut = x["ZeRO"] >= stage
        return x["common"] / (x["shards"] if cut else 1) + x["routed"] / x["replicas"]

    by_formula = {
        "stragglers": lambda x: x["straggle"] * log2(x["chips"] / 8) * x["above"],
        "bubble": lambda x: (x["PP"] - 1) / x["VPP"] * (x["stage"] + x["hop"]) / 1e3,
        "optimizer": lambda x: (
            x["optimizer_traffic"] * weights(x, 1) / (1e9 * x["memory_Bps"] * x["memory"])
        ),
    }
    assert {"stragglers", "optimizer"} <= set(time)
    for name in set(by_formula) & set(time):
        inputs, value = time[name]
        assert by_formula[name](inputs) == pytest.approx(value, rel=0.01), name
    of_memory = {
        "framework": lambda x: x["context_gib"] + x["framework_share"] * x["memory"],
        "fragmentation": lambda x: x["fragmentation"] * x["rest"],
        "weights": lambda x: x["weight"] * weights(x, 3) / 2**30,
        "optimizer": lambda x: x["optimizer_copies"] * x["adam"] * weights(x, 1) / 2**30,
    }
    for name in set(of_memory) & set(held):
        inputs, value = held[name]
        assert of_memory[name](inputs) == pytest.approx(value, rel=0.01), name


def test_what_products_reach_is_told_of_their_width_and_links_of_the_form(ask):
    def told(**changes):
        parts = ask(**changes).context["answer"].time
        return {one.name: one for part in parts for one in part.inputs}

    plain, eight = told(), told(dtype="fp8", network_gbps="25")
    assert eight["H100-80GB: reach"].value != plain["H100-80GB: reach"].value
    assert "gemm_8" in eight
    assert "form" in eight["H100-80GB: inter"].about


def test_the_address_picks_a_plan(ask):
    code = ask().context["answer"].rows[3].code
    found = ask(plan=code).context["answer"]
    assert (found.rank, found.rows[3].chosen) == (4, True)
    assert ask(plan="nonsense").context["answer"].rank == 1
    for none in ("0-0-0-0-0-0-0-0-0-0-0-0", "8-1-1-1-1-1-8-1-0-0-1-9", "1-1-1-8-1-1-1-1-0-0-9-0"):
        assert ask(plan=none).context["answer"].rank == 1
    odd = ask(plan="8-1-1-1-1-1-8-1-0-0-0-2").context["answer"]
    assert odd.rank is None
    assert odd.chosen.plan.recompute == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": "0"}, "Ensure this value is greater than or equal to 1"),
        ({"count": None}, "needs a whole count from 1 up"),
        ({"chip": "T4", "dtype": "bf16"}, "T4 has no bf16 peak"),
        ({"count": "37", "global_batch": "3"}, "a multiple of 37 is right"),
        ({"tp": "3"}, "no plan of 8 chips has these values"),
        ({"model": "config"}, "paste the whole JSON object"),
        ({"model": "config", "config": '{"model_type": "x"}'}, "is unknown; known are"),
        ({"model": "config", "config": "{"}, "this is no JSON"),
        ({"model": "config", "config": '{"model_type": "llama", "a": NaN}'}, "this is no JSON"),
        ({"where": "cluster"}, "choose one whose nodes have chips"),
        ({"model": "deepseek-v3"}, "No plan fits 8 × H100-80GB. The nearest"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_the_form(ask, changes, words):
    answer = ask(**changes)
    said = str(answer.context["form"].errors)
    assert words in said.replace("&#x27;", "'"), said
    assert "answer" not in answer.context


def test_a_pasted_config_is_planned(ask):
    config = json.dumps(known_models()["qwen3-8b"])
    assert ask(model="config", config=config).context["answer"].rows


def test_what_would_take_too_long_is_refused(ask, monkeypatch):
    monkeypatch.setattr(plan_answers, "MOST_ROWS", 10)
    answer = ask()
    assert "too large to search in the portal" in answer.content.decode()


def test_a_model_beyond_all_bounds_is_refused(ask):
    huge = {"layers": 10**6, "hidden": 64, "heads": 4, "ffn_hidden": 64, "vocab": 100}
    assert "at most 1000" in str(
        ask(model="config", config=json.dumps(huge)).context["form"].errors
    )


def test_ones_own_cluster_has_its_chips_and_its_price(ask, team):
    a_price("8", kind="local:H100", team=team)
    cluster = a_cluster(team, workers=2, node=NodeWish(cpus=4, chip="H100", chips=4))
    answer = ask(where="cluster", cluster=str(cluster.pk), chip=None, count=None)
    asked, found = answer.context["asked"], answer.context["answer"]
    assert (asked.cluster.size, asked.cluster.chips_per_node) == (8, 4)
    use = parse_qs(urlsplit(answer.context["use"]).query)
    assert (use["cluster"], use["chips"], use["cpus"]) == ([str(cluster.pk)], ["8"], ["8"])
    assert document.read(json.loads(use["plan"][0])).plan == found.chosen.plan


def test_a_plan_is_used_where_its_chips_are(ask, team):
    few = a_cluster(team, workers=1, node=NodeWish(cpus=4, chip="H100", chips=4))
    assert "cluster" not in parse_qs(urlsplit(ask().context["use"]).query), few
    enough = a_cluster(team, workers=2, node=NodeWish(cpus=4, chip="h100 80gb", chips=4))
    use = parse_qs(urlsplit(ask().context["use"]).query)
    assert (use["cluster"], use["chip"]) == ([str(enough.pk)], ["h100 80gb"])


def test_another_teams_cluster_is_none(ask):
    cluster = a_cluster(a_team(), node=NodeWish(cpus=4, chip="H100", chips=4))
    refused = ask(where="cluster", cluster=str(cluster.pk)).context["form"].errors
    assert list(refused) == ["cluster"]


def test_htmx_gets_the_answer_alone(client, team):
    client.force_login(owner_of(team))
    part = client.get(f"/t/{team.slug}/plan/", SMALL, headers={"HX-Request": "true"})
    assert part.content.decode().lstrip().startswith('<div class="stack stack--l" id="answer"')
    assert not re.search(r"<form", part.content.decode())


def test_the_curl_on_the_page_asks_the_same_of_the_api(ask, client, team):
    page = ask(tp="2", recompute="none", headroom="10", network_gbps="25")
    sent = shlex.split(page.context["curl"].replace("\\\n", " "))[-1]
    token = bearer(a_token(team))
    found = client.post("/api/v1/plans/search", sent, content_type="application/json", **token)
    best = page.context["answer"].rows[0].item
    assert found.json()["plans"][0]["iteration_s"] == pytest.approx(best.iteration_s)


def test_exports_stand_ready_to_copy(ask):
    body = ask().content.decode()
    assert "--tensor-model-parallel-size" in body
    assert "tensor_parallel_degree = " in body


def test_a_training_without_an_end_says_so(ask):
    body = ask(tokens_b="1000000000").content.decode()
    assert "would not end within a thousand years" in body
    assert "say how many tokens" not in body
