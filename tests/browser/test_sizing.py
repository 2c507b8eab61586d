"""Chips, sizing and mixed clusters in a browser: what appears by itself, and in both languages."""

from __future__ import annotations

from chips import MIXED, SIZED, search_all, searched
from playwright.sync_api import expect

expect.set_options(timeout=120_000)  # ms, for machines that do much else besides


def test_the_front_appears_by_itself_once_it_is_searched(owner):
    page = owner.at(SIZED)
    expect(page.get_by_text("Searching the best plan at every size")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_be_visible()
    search_all()
    expect(page.get_by_role("heading", name="Cheapest")).to_be_visible()
    owner.settle()
    page.get_by_label("Deadline, days").fill("0.0001")
    page.get_by_role("button", name="Size it").click()
    expect(page.get_by_text("No option meets this")).to_be_visible()
    assert "deadline_days=0.0001" in page.url


def test_chips_are_found_as_one_types_and_compared(owner):
    page = owner.at("plan/chips/")
    owner.settle()
    page.get_by_placeholder("Search by name").fill("ascend")
    expect(page.locator("tbody tr")).to_have_count(4)
    page.get_by_label("Compare Ascend-910B", exact=True).check()
    page.get_by_label("Compare Ascend-910C").check()
    page.get_by_role("button", name="Compare up to 4").click()
    expect(page.get_by_role("heading", name="Compare chips")).to_be_visible()
    expect(page.locator("thead a")).to_have_count(2)


def test_an_owner_sets_a_price_and_takes_it_back(owner):
    page = owner.at("plan/chips/H100-80GB/")
    page.get_by_label("Figure", exact=True).select_option("price_usd_per_hour")
    page.get_by_label("Value", exact=True).fill("1.75")
    page.get_by_label("Source", exact=True).fill("contract 7")
    page.get_by_role("button", name="Set the figure").click()
    expect(page.get_by_text("shipped: 2.95")).to_be_visible()
    page.get_by_role("button", name="Take back Rent").click()
    expect(page.get_by_text("shipped: 2.95")).to_have_count(0)


def test_the_pages_speak_chinese_in_the_dark(owner, team):
    searched(team)
    owner.page.context.add_cookies(
        [{"name": "django_language", "value": "zh-hans", "url": owner.portal}]
    )
    owner.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    for path, words in (
        ("plan/chips/", "芯片"),
        ("plan/chips/H100-80GB/", "显存带宽"),
        (SIZED, "最省"),
        (MIXED, "效率 η"),
    ):
        page = owner.at(path)
        owner.settle()
        expect(page.get_by_text(words).first).to_be_visible()
        assert owner.troubles == [], path
