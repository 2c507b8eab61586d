"""Every page: no complaint of the console, no violation of the policy, room on a small screen,
and nothing that an accessibility check calls serious."""

from __future__ import annotations

from decimal import Decimal

import pytest
from axe_playwright_python.sync_playwright import Axe
from chips import MIXED, SIZED, a_chip, searched
from clusters import a_ready_cluster
from jobs import a_job, the_attempt
from people import a_token, owner_of
from playwright.sync_api import expect

from apps.accounts.models import User
from apps.clusters.services import NodeWish
from apps.insights import services as insights
from apps.jobs import secrets, services
from regatta.telemetry.batch import decode, encode

PATIENCE_MS = 120_000
PAGES = [
    "",
    "clusters/",
    "clusters/new/",
    "clusters/{cluster}/",
    "jobs/",
    "jobs/new/",
    "jobs/new/?sample=1",
    "jobs/{job}/",
    "jobs/{failed}/",
    "costs/",
    "costs/prices/",
    "secrets/",
    "insights/",
    "plan/",
    "plan/?model=llama-3-8b&where=catalogue&chip=T4&count=8&seq_len=8192&global_batch=64&dtype=bf16",
    "plan/chips/",
    "plan/chips/Own-1/",
    "plan/add-chip/",
    "plan/compare-chips/?chip=H100-80GB&chip=MI300X&chip=Own-1",
    SIZED,
    f"{SIZED}&what=serving&requests_per_s=5&prompt_tokens=1000&output_tokens=500&own=on",
    f"{SIZED}&deadline_days=0.0001",
    MIXED,
    "plan/record/",
    "plan/jobs/{job}/",
    "members/",
    "tokens/",
]


@pytest.fixture
def things(team, monkeypatch):
    """A cluster with simulated chips; a job that runs and reports, one failed, one waiting."""
    monkeypatch.setattr(insights, "_key_ids", {})  # remembered from a database that was emptied
    cluster = a_ready_cluster(team, name="lab", node=NodeWish(cpus=4, chip="P800", chips=2))
    running, failed = a_job(cluster, cpus=Decimal(2)), a_job(cluster, name="broken")
    for job, ends in ((running, None), (failed, ("failed", "entrypoint_failed"))):
        attempt = the_attempt(job)
        attempt.advance("starting", reason="placed")
        attempt.advance("running", reason="seen_running")
        if ends:
            said = {"message": "exit code 1", "exit_code": 1}
            attempt.advance(ends[0], reason=ends[1], evidence=said, detail=said)
    attempt = the_attempt(running)
    services.note_progress(attempt.pk, step=30, total_steps=100, loss=2.5, tokens_per_s=9000.0)
    points = [("loss", step, 4 - step / 20, float(step)) for step in range(1, 31)]
    stream = "6f1c1d1e-0000-4000-8000-000000000001"
    insights.take_in(
        decode(encode(points, stream=stream, seq=1, rank=0, dropped=0)), attempt_id=attempt.pk
    )
    a_job(cluster, name="waiting", cpus=Decimal(8))
    a_token(team)
    secrets.set_secret(team=team, name="hf-token", value="hf_1234", actor="ada")
    a_chip(team, "Own-1", bf16_tflops=300.0)
    searched(team)
    return {"cluster": cluster.pk, "job": running.pk, "failed": failed.pk}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_troubles_the_console_or_the_accessibility_check(owner, things, theme):
    owner.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    for path in PAGES:
        page = owner.at(path.format(**things))
        owner.settle()
        assert page.locator("h1").count() == 1, path
        assert owner.troubles == [], path
        found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False})
        serious = [
            (one["id"], [node["html"][:160] for node in one["nodes"]])
            for one in found.response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == [], path


def test_no_page_is_wider_than_a_small_screen(owner, things):
    owner.page.set_viewport_size({"width": 320, "height": 640})
    for path in PAGES:
        page = owner.at(path.format(**things))
        owner.settle()
        assert page.evaluate("document.documentElement.scrollWidth") == 320, path


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_reference_of_the_api_and_the_console_are_dressed_as_the_portal(owner, team, theme):
    User.objects.filter(pk=owner_of(team).pk).update(is_superuser=True)
    owner.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    surface = owner.page.evaluate("getComputedStyle(document.body).backgroundColor")
    for path, shown in (
        ("/api/v1/docs", "#operations-tag-jobs"),
        ("/admin/jobs/job/", "#changelist"),
    ):
        page = owner.go(path)
        expect(page.locator(shown)).to_be_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == surface, path
        assert owner.troubles == [], path
        page.get_by_role("link", name="Back to the portal").click()
        page.wait_for_url("**/t/crew/")


@pytest.mark.parametrize("path", ["/sign-in/", "/link/used/", "/t/crew/", "/nowhere/"])
def test_a_strangers_pages_have_no_trouble_but_their_status(stranger, team, path):
    page = stranger.go(path)
    assert page.locator("h1").count() == 1
    if path in ("/link/used/", "/nowhere/"):
        stranger.forgive("Failed to load resource")


def test_pages_can_be_read_without_scripts(chromium, owner, things):
    cookies = owner.page.context.cookies()
    context = chromium.new_context(java_script_enabled=False)
    context.add_cookies(cookies)
    page = context.new_page()
    for path in PAGES:
        page.goto(f"{owner.portal}/t/{owner.team}/{path.format(**things)}")
        assert page.locator("h1").is_visible(), path
        assert page.locator(".skeleton:visible").count() == 0, path
    context.close()
