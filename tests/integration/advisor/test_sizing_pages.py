"""Chips, sizing and mixed clusters by page and by REST: what is shown and what refused."""

from __future__ import annotations

import pytest
from chips import MIXED, SIZED, a_chip, given, search_all
from django.test import Client
from people import a_member, a_team, a_token, bearer, owner_of

from apps.accounts.scopes import Role
from apps.advisor import catalogue_services
from apps.advisor.models import ChipFigure, PlanSearch, TeamChip

pytestmark = pytest.mark.django_db
TRAIN = {
    "model": "gpt2",
    "tokens": 1e9,
    "seq_len": 1024,
    "global_batch": 64,
    "chips": {"H100-80GB": 2.5, "A100-80GB": None, "Ascend-910B": None},
    "max_chips": 16,
}
SERVE = {
    "what": "serving",
    "model": "llama-3-8b",
    "requests_per_s": 5,
    "prompt_tokens": 1000,
    "output_tokens": 500,
    "chips": {"H100-80GB": None, "T4": None},
}
BOTH = {
    "model": "gpt2",
    "chips": {"A100-80GB": 8, "H100-80GB": 8},
    "seq_len": 1024,
    "global_batch": 64,
}


@pytest.fixture
def team():
    return a_team()


@pytest.fixture
def client(team) -> Client:
    client = Client()
    client.force_login(owner_of(team))
    return client


def page(client, team, path, **how):
    return client.get(f"/t/{team.slug}/{path}", **how)


def post(team, path, body, client=None):
    return (client or Client()).post(
        f"/api/v1{path}", body, content_type="application/json", **bearer(a_token(team))
    )


def test_the_catalogue_is_filtered_sorted_and_marks_what_is_the_teams(client, team):
    a_chip(team, "Own-1", bf16_tflops=9999.0)
    names = [row.chip.name for row in page(client, team, "plan/chips/").context["rows"]]
    assert len(names) == 74
    sort = page(client, team, "plan/chips/?sort=-bf16_tflops")
    assert sort.context["rows"][0].chip.name == "Own-1"
    assert sort.context["rows"][0].own
    found = page(client, team, "plan/chips/?vendor=Huawei&q=910").context["rows"]
    assert {row.chip.vendor for row in found} == {"Huawei"}
    assert b"Own-1" not in page(client, team, "plan/chips/?priced=1").content
    other = a_team()
    client.force_login(owner_of(other))
    assert b"Own-1" not in page(client, other, "plan/chips/").content


def test_an_owner_sets_a_figure_and_takes_it_back_a_member_may_not(client, team):
    told = {
        "figure": "bf16_measured_tflops",
        "value": "700",
        "quality": "measured",
        "source": "us",
    }
    address = f"/t/{team.slug}/plan/chips/H100-80GB/"
    assert client.post(address, told).status_code == 302
    shown = client.get(address).content.decode()
    assert "700" in shown
    assert "shipped: 794.5" in shown
    assert client.post(address, told | {"source": ""}).status_code == 422
    back = {"action": "undo", "figure": "bf16_measured_tflops"}
    assert client.post(address, back).status_code == 302
    assert not ChipFigure.objects.filter(to_at=None).exists()
    member = Client()
    member.force_login(a_member(team, Role.MEMBER))
    assert member.post(address, told).status_code == 403
    assert b"Set the figure" not in member.get(address).content


def test_a_chip_is_added_by_form_and_compared(client, team):
    values = dict.fromkeys(
        ("memory_gib", "memory_GBps", "intra_GBps", "inter_GBps", "mtbf_h"), "100"
    )
    about = {"name": "Own-2", "vendor": "Us", "quality": "assumed", "source": "a guess"}
    said = values | about | {"domain_chips": "8", "chips_per_node": "8", "bf16_tflops": "400"}
    address = f"/t/{team.slug}/plan/add-chip/"
    assert client.post(address, said | {"mtbf_h": ""}).status_code == 422
    assert client.post(address, said).status_code == 302
    beside = page(client, team, "plan/compare-chips/?chip=Own-2&chip=H100-80GB&chip=nope")
    assert [row.chip.name for row in beside.context["compared"]] == ["Own-2", "H100-80GB"]
    gone = client.post(f"/t/{team.slug}/plan/chips/Own-2/", {"action": "remove"})
    assert gone.status_code == 302
    assert not TeamChip.objects.filter(removed_at=None).exists()


def test_chips_by_rest(team):
    auth, client = bearer(a_token(team)), Client()
    body = {
        "name": "Own-3",
        "vendor": "Us",
        "figures": [
            {"figure": one.figure, "value": one.value, "quality": one.quality, "source": "x"}
            for one in [given(name, 8.0) for name in _REQUIRED]
        ],
    }
    made = post(team, "/chips", body)
    assert made.status_code == 201
    assert made.json()["own"] is True
    assert post(team, "/chips", body).status_code == 409
    price = {"figure": "price_usd_per_hour", "value": 2, "quality": "published", "source": "c"}
    assert post(team, "/chips/H100-80GB/figures", price).status_code == 201
    told = client.get("/api/v1/chips/H100-80GB", **auth).json()
    assert told["figures"]["price_usd_per_hour"]["own"] is True
    assert [one["value"] for one in told["history"]] == [2]
    gone = client.delete("/api/v1/chips/H100-80GB/figures/price_usd_per_hour", **auth)
    assert gone.status_code == 204
    assert len(client.get("/api/v1/chips", **auth).json()) == 74
    stranger = bearer(a_token(a_team()))
    assert client.get("/api/v1/chips/Own-3", **stranger).status_code == 404
    assert client.delete("/api/v1/chips/H100-80GB", **auth).status_code == 404, "not its own"
    assert client.delete("/api/v1/chips/Own-3", **auth).status_code == 204


_REQUIRED = (
    *("memory_gib", "memory_GBps", "intra_GBps", "inter_GBps"),
    *("domain_chips", "chips_per_node", "mtbf_h"),
)


def test_the_sizing_page_shows_how_far_it_is_and_then_the_front(client, team):
    first = page(client, team, SIZED)
    assert first.context["progress"].of == 2
    assert b'http-equiv="refresh"' in first.content, "without a script too"
    part = page(client, team, SIZED, headers={"HX-Request": "true"})
    assert b'hx-trigger="every 1s"' in part.content
    assert b"<html" not in part.content
    search_all()
    done = page(client, team, SIZED).content.decode()
    for word in ("Cheapest", "Balanced", "Fastest", "estimated price", "Goodput", "Checkpoint"):
        assert word in done
    assert "every 1s" not in done
    cheaper = page(client, team, f"{SIZED}&prices=H100-80GB%3D0.01&budget_usd=1000000")
    assert cheaper.context["cards"][0][1].one.chip == "H100-80GB"
    assert PlanSearch.objects.count() == 2, "other prices take no other search"


@pytest.mark.parametrize("goal", ["&tokens_b=1.23456789", "&goal=samples&samples=1234567&lora=on"])
def test_a_line_of_the_front_opens_the_very_plan_with_its_cost_and_end(client, team, goal):
    page(client, team, SIZED + goal)
    search_all()
    [line, *_rest] = page(client, team, SIZED + goal).context["lines"]
    answer = client.get(line.explore).context["answer"]
    assert answer.chosen == line.one.best
    assert answer.money.seconds / 86_400 == pytest.approx(line.one.days, rel=1e-12)
    assert answer.money.usd == pytest.approx(line.one.cost_usd, rel=1e-12)


def test_storage_and_recovery_decide_what_failures_leave(client, team):
    page(client, team, SIZED)
    search_all()
    slow, usual, fast = (
        page(client, team, SIZED + terms).context["lines"][0].one.goodput
        for terms in ("&storage_gbps=0.1&recovery_s=3600", "", "&storage_gbps=99&recovery_s=6")
    )
    assert slow.share < usual.share < fast.share
    assert slow.save_s == pytest.approx(990 * fast.save_s)
    told = post(team, "/plans/size", TRAIN | {"storage_GBps": 99, "recovery_s": 6})
    assert told.json()["fastest"]["checkpoint_save_s"] == fast.save_s


def test_the_sizing_page_says_what_is_missed_and_by_how_much(client, team):
    page(client, team, SIZED)
    search_all()
    told = page(client, team, f"{SIZED}&deadline_days=0.0001").content.decode()
    assert "The nearest is" in told
    assert "a deadline of" in told
    unpriced = page(client, team, f"{SIZED}&chips=Ascend-910B&own=on").content.decode()
    assert "No price is known." in unpriced
    assert "purchase" in unpriced


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("&tokens_b=0", "a number above 0 is needed"),
        ("&storage_gbps=0", "0 is out of range"),
        ("&prices=H100-80GB%3Dx", "is no number"),
        ("&prices=nope%3D1", "the catalogue has no"),
        ("&model=config&config=%7B", "no JSON"),
        ("&max_chips=999999", "less than or equal"),
        ("&global_batch=735134400", "less than or equal"),
        ("&model=deepseek-v3&global_batch=720720&max_chips=16381", "too many ways to split"),
    ],
)
def test_the_sizing_page_names_what_is_wrong(client, team, changed, said):
    answer = page(client, team, SIZED + changed)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not PlanSearch.objects.exists()


def test_serving_is_sized_at_once(client, team):
    path = (
        "plan/size/?what=serving&model=llama-3-8b&requests_per_s=5&prompt_tokens=1000"
        "&output_tokens=500&quantization=bf16&chips=H100-80GB&chips=T4&max_chips=64"
    )
    told = page(client, team, path)
    assert told.context["cards"][0][1].one.usd_per_mtok > 0
    missed = page(client, team, f"{path}&ttft_s=0.000001").content.decode()
    assert "a first token within" in missed


def test_sizes_by_rest_are_asked_again_until_they_are_there(team):
    first = post(team, "/plans/size", TRAIN)
    assert (first.status_code, first.json()["of"]) == (202, 2)
    assert int(first["Retry-After"]) >= 1
    search_all()
    answer = post(team, "/plans/size", TRAIN).json()
    assert answer["unpriced"] == ["Ascend-910B"]
    assert answer["prices"]["H100-80GB"]["usd_per_hour"] == 2.5
    assert answer["cheapest"]["cost_usd"] <= answer["fastest"]["cost_usd"]
    late = post(team, "/plans/size", TRAIN | {"deadline_days": 1e-6})
    assert (late.status_code, late.json()["code"]) == (422, "no_plan")
    served = post(team, "/plans/size", SERVE)
    assert served.json()["kind"] == "serving"
    for wrong in ({"chips": {"nope": 1}}, {"own_terms": {"colour": 1}}, {"tokens": None}):
        assert post(team, "/plans/size", TRAIN | wrong).status_code == 422


@pytest.mark.parametrize(("path", "body"), [("/plans/size", SERVE), ("/plans/mixed", BOTH)])
def test_chips_are_known_by_rest_by_any_of_their_names_but_one_at_a_time(team, path, body):
    assert post(team, path, body | {"chips": {"h100": 8}}).status_code in {200, 202}
    unknown = post(team, path, body | {"chips": {"H1000": 8}})
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/chips")
    assert "did you mean" in unknown.json()["detail"]
    assert post(team, path, body | {"chips": {"h100": 8, "H100-80GB": 8}}).status_code == 422


def test_an_own_price_is_what_the_next_sizing_computes_with(team):
    catalogue_services.set_figure(
        team=team, chip="H100-80GB", given=given(value=1.25), actor="user:t"
    )
    asked = SERVE | {"chips": {"H100-80GB": None}}
    mine, theirs = (post(one, "/plans/size", asked).json() for one in (team, a_team()))
    assert mine["cheapest"]["usd_per_chip_hour"] == 1.25
    assert theirs["cheapest"]["usd_per_chip_hour"] == 2.95


def test_a_mixed_cluster_by_page_and_by_rest(client, team):
    assert page(client, team, MIXED).context["progress"].of == 1
    assert post(team, "/plans/mixed", BOTH).status_code == 202
    assert PlanSearch.objects.count() == 1, "the page asked for the same"
    search_all()
    answer = post(team, "/plans/mixed", BOTH).json()
    assert 0 < answer["simulated_efficiency"] < 1.2
    assert sum(block["sequences"] for block in answer["blocks"]) == 64
    shown = page(client, team, MIXED).content.decode()
    assert "What η means" in shown
    assert "8 × H100-80GB" in shown


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("&count1=", "a chip needs how many"),
        ("&chip2=A100-80GB", "stands there twice"),
        ("&chip1=&count1=&chip2=&count2=", "name at least one kind"),
        ("&chip1=V100-32GB", "no bf16 peak"),
    ],
)
def test_the_mixed_page_names_what_is_wrong(client, team, changed, said):
    answer = page(client, team, MIXED + changed)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not PlanSearch.objects.exists()
