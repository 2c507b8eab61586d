"""The plan explorer in a browser: what-if, a point of the picture, and a plan in the job form."""

from __future__ import annotations

import re

import pytest
from clusters import a_ready_cluster
from playwright.sync_api import expect

from apps.clusters.services import NodeWish

SMALL = "plan/?model=llama-3-8b&where=catalogue&chip=H100-80GB&count=8&seq_len=8192"
SMALL += "&global_batch=64&dtype=bf16&tokens_b=10"
expect.set_options(timeout=120_000)  # ms, for machines that do much else besides
STEP = "#answer .stat__value >> nth=0"


@pytest.fixture
def page(owner, team):
    a_ready_cluster(team, name="lab", node=NodeWish(cpus=4, chip="H100", chips=4))
    page = owner.at(SMALL)
    page.locator("#cloud-plot").scroll_into_view_if_needed()
    expect(page.locator("#cloud-plot[data-drawn]")).to_be_visible()
    return page


def test_a_slider_answers_anew_and_the_address_keeps_what_was_asked(page):
    before = page.locator(STEP).inner_text()
    slider = page.get_by_role("slider", name="Global batch, sequences")
    slider.focus()
    slider.press("ArrowRight")
    expect(page.get_by_role("spinbutton", name="Global batch, sequences")).to_have_value("128")
    expect(page.locator(STEP)).not_to_have_text(before)
    expect(page).to_have_url(re.compile("global_batch=128"))
    page.reload()
    expect(page.locator(STEP)).not_to_have_text(before)


def test_a_row_and_a_point_open_their_plan(page):
    page.get_by_role("row").nth(5).get_by_role("link").click()
    expect(page.get_by_role("heading", name="Plan 3 of the fastest")).to_be_visible()
    expect(page).to_have_url(re.compile("plan=[0-9-]+"))
    page.evaluate(
        """document.getElementById("cloud-plot").dispatchEvent(
             new CustomEvent("regatta:point", { detail: "8-1-1-1-1-1-8-1-0-0-0-2" }))"""
    )
    expect(page.get_by_role("heading", name="The chosen plan")).to_be_visible()
    expect(page).to_have_url(re.compile("plan=8-1-1-1-1-1-8-1-0-0-0-2"))


def test_a_number_opens_to_its_formula_and_sources(page):
    page.get_by_text("matrix products", exact=True).first.click()
    expect(page.get_by_text("share of the best measured 16-bit product").first).to_be_visible()


def test_what_does_not_fit_says_so_in_place(page):
    page.get_by_label("Model", exact=True).select_option("deepseek-v3")
    expect(page.get_by_text("No plan fits 8 × H100-80GB")).to_be_visible()


def test_a_plan_goes_into_the_job_form_with_what_to_expect(page):
    page.get_by_label("Chips", exact=True).select_option("cluster")
    expect(page.get_by_label("Cluster", exact=True)).to_be_visible()
    expect(page.get_by_label("Chip", exact=True)).to_be_hidden()
    expect(page).to_have_url(re.compile("where=cluster"))
    page.get_by_role("link", name="Use this plan").click()
    expect(page.get_by_role("heading", name=re.compile("By its plan"))).to_be_visible()
    expect(page.locator("#id_chips")).to_have_value("8")
    expect(page.get_by_text("until 20")).to_be_visible()
