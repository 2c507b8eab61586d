"""Signing in, themes, keys and menus."""

from __future__ import annotations

import re

import pytest
from people import a_team, a_user, owner_of
from playwright.sync_api import expect

from apps.accounts import services
from apps.accounts.models import ApiToken, OneTimeLink

PASSWORD = "four words make one"


def test_a_link_shows_whom_it_lets_in_and_is_used_by_the_button_alone(stranger, team):
    code = services.one_time_link(owner_of(team))
    page = stranger.go(f"/link/{code}/")
    expect(page.get_by_text(owner_of(team).username).first).to_be_visible()
    assert OneTimeLink.objects.get().used_at is None
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("The same once more").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/t/crew/")
    assert OneTimeLink.objects.get().used_at is not None
    assert owner_of(team).check_password(PASSWORD)


def test_a_wrong_password_is_told_above_the_form(stranger, transactional_db):
    a_user("ada", password=PASSWORD)
    page = stranger.go("/sign-in/")
    page.get_by_role("textbox", name="Name").fill("ada")
    page.get_by_label("Password").fill("guess")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    stranger.forgive("401")


def test_a_page_that_needs_signing_in_comes_after_it(stranger, team):
    user = owner_of(team)
    user.set_password(PASSWORD)
    user.save()
    page = stranger.go("/t/crew/tokens/")
    page.get_by_role("textbox", name="Name").fill(user.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/t/crew/tokens/")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chosen_theme_holds_over_pages_and_before_the_first_paint(owner, theme):
    page = owner.page
    page.locator("summary.person").click()
    page.get_by_role("button", name=theme.capitalize()).click()
    owner.at("jobs/")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", theme)
    lightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(lightness) > 200) == (theme == "light")


def test_keys_go_to_places_and_show_their_sheet(owner):
    page = owner.page
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url("**/clusters/")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("n")
    page.wait_for_url("**/clusters/new/")


def test_keys_are_left_alone_where_one_types_or_composes(owner):
    page = owner.at("jobs/")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("/")
    page.keyboard.type("gcn?")
    expect(page.get_by_label("Search by name")).to_have_value("gcn?")
    assert re.search(r"/jobs/", page.url)
    page.get_by_role("heading", name="Jobs").click()
    page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown',"
        "{key: '?', isComposing: true, bubbles: true}))"
    )
    expect(page.locator("#keys")).not_to_be_visible()


def test_keys_can_be_switched_off(owner):
    page = owner.page
    page.wait_for_load_state("networkidle")
    page.keyboard.press("?")
    page.get_by_label("Switch single-key shortcuts off in this browser").check()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#keys")).not_to_be_visible()


def test_the_skip_link_is_the_first_stop_and_leads_to_the_content(owner):
    page = owner.at("costs/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_the_team_switcher_leads_to_the_other_team_and_is_remembered(owner, team):
    a_team("second", owner=owner_of(team))
    page = owner.at("")
    page.locator("summary.team").click()
    page.get_by_role("link", name="second").click()
    page.wait_for_url("**/t/second/")
    owner.go("/")
    page.wait_for_url("**/t/second/")


def test_on_a_small_screen_the_menu_opens_the_places(owner):
    owner.page.set_viewport_size({"width": 360, "height": 700})
    page = owner.at("")
    expect(page.get_by_role("link", name="Clusters", exact=True)).not_to_be_visible()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Clusters", exact=True).click()
    page.wait_for_url("**/clusters/")


def test_a_token_is_made_shown_once_and_revoked(owner):
    page = owner.at("tokens/")
    page.get_by_role("textbox", name="Name").fill("laptop")
    page.get_by_role("button", name="Create token").click()
    secret = page.locator("#secret-text")
    expect(secret).to_have_text(re.compile(r"^rgt_[0-9a-f]{8}_[\w-]{43}$"))
    owner.at("tokens/")
    expect(secret).to_have_count(0)
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("No token yet")).to_be_visible()
    assert ApiToken.objects.get().revoked_at is not None
