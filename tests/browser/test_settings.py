"""Secrets: kept, taken by a job, replaced, deleted after a question; and a price that is set."""

from __future__ import annotations

import pytest
from clusters import a_ready_cluster
from playwright.sync_api import expect

from apps.accounts import vault
from apps.jobs import secrets
from apps.jobs.models import Secret


@pytest.fixture
def kept(team):
    secrets.set_secret(team=team, name="hf-token", value="hf_1234", actor="ada")
    return Secret.objects.get()


def test_a_secret_is_kept_and_its_value_is_on_no_page(owner):
    page = owner.at("secrets/")
    expect(page.get_by_text("No secret yet")).to_be_visible()
    page.get_by_role("textbox", name="Name").fill("hf-token")
    page.get_by_role("textbox", name="Value").fill("hf_1234")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").get_by_text("hf-token")).to_be_visible()
    expect(page.get_by_role("textbox", name="Value")).to_have_value("")
    assert "hf_1234" not in page.content()
    assert vault.open_(Secret.objects.get().sealed) == "hf_1234"


def test_a_secret_is_deleted_only_by_who_says_so_twice(owner, kept):
    page = owner.at("secrets/")
    page.wait_for_load_state("networkidle")
    delete, dialog = page.get_by_role("button", name="Delete hf-token"), page.get_by_role("dialog")
    delete.press("Enter")
    expect(dialog.get_by_role("heading")).to_contain_text("hf-token")
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    delete.click()
    dialog.get_by_role("button", name="Cancel").click()
    assert Secret.objects.exists()
    delete.click()
    dialog.get_by_role("button", name="Delete the secret").click()
    expect(page.get_by_text("No secret yet")).to_be_visible()
    assert not Secret.objects.exists()


def test_a_value_is_replaced_from_its_row(owner, kept):
    page = owner.at("secrets/")
    page.get_by_role("link", name="Replace hf-token").click()
    page.get_by_role("textbox", name="Value").fill("hf_5678")
    page.get_by_role("button", name="Replace").click()
    page.wait_for_url("**/secrets/")
    assert vault.open_(Secret.objects.get().sealed) == "hf_5678"


def test_the_form_of_a_job_takes_a_secret_by_a_click(owner, team, kept):
    a_ready_cluster(team, name="lab")
    page = owner.at("jobs/new/")
    page.wait_for_load_state("networkidle")
    page.get_by_text("Environment, secrets, priority and retries").click()
    env = page.get_by_role("textbox", name="Environment")
    env.fill("SEED=7\n")
    page.get_by_role("button", name="secret:hf-token").click()
    expect(env).to_have_value("SEED=7\nHF_TOKEN=secret:hf-token")
    expect(env).to_be_focused()


def test_an_owner_sets_a_price(owner):
    page = owner.at("costs/")
    page.get_by_role("link", name="Set a price").click()
    page.get_by_role("combobox", name="Kind of node").fill("local:P800")
    page.get_by_role("spinbutton", name="USD per node-hour").fill("14.2")
    page.get_by_role("button", name="Set the price").click()
    row = page.get_by_role("row").filter(has_text="local:P800")
    expect(row).to_contain_text("14.20")
    expect(row).to_contain_text("open")
