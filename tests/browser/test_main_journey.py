"""The whole way on a real portal with a real Ray: sign in, cluster, main job, watch it end."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect
from portals import a_portal

START_MS, TRAIN_MS = 180_000, 420_000


@pytest.mark.timeout(900)
def test_the_main_job_is_submitted_in_the_browser_and_watched_to_its_end(context):
    troubles: list[str] = []
    page = context.new_page()
    page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    with a_portal() as running:
        first = json.loads(running.manage("first_start", "--json").splitlines()[-1])
        page.goto(first["link"])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Create a cluster").click()
        page.get_by_role("textbox", name="Name").fill("journey")
        page.get_by_role("button", name="Create cluster").click()
        expect(page.locator("h1 .badge")).to_contain_text("Ready", timeout=START_MS)

        page.get_by_role("link", name="Submit a job").click()
        page.get_by_role("link", name="Use the sample job").click()
        expect(page.locator("#fit")).to_contain_text("Fits now")
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url(re.compile(r"/jobs/\d+/$"))
        expect(page.locator("h1 .badge")).to_contain_text("Running", timeout=START_MS)
        expect(page.locator("[data-progress=loss]")).to_be_visible(timeout=START_MS)
        expect(page.locator(".chart__plot[data-drawn]").first).to_be_visible(timeout=START_MS)
        expect(page.locator("h1 .badge")).to_contain_text("Succeeded", timeout=TRAIN_MS)
        expect(page.locator(".log__view").first).to_contain_text("sample:")
        expect(page.locator(".stat__value").nth(1)).to_have_text(re.compile(r"^\$0\.\d+$"))
        page.close()  # before the portal ends, or its open stream would rightly complain
        assert troubles == []
