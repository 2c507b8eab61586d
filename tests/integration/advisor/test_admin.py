"""The admin console shows what teams set and what was searched, and changes none of it by hand."""

from __future__ import annotations

import pytest
from chips import a_chip, searched
from django.urls import reverse
from people import a_team, a_user

from apps.advisor.models import PlanSearch

pytestmark = pytest.mark.django_db


@pytest.fixture
def console(client):
    client.force_login(a_user(is_superuser=True))
    return client


@pytest.mark.parametrize("model", ["teamchip", "chipfigure", "plansearch"])
def test_every_row_is_shown_and_none_can_be_changed(console, model):
    team = a_team()
    a_chip(team)
    searched(team)
    listing = console.get(reverse(f"admin:advisor_{model}_changelist"))
    row = listing.context["cl"].result_list[0]
    shown = console.get(reverse(f"admin:advisor_{model}_change", args=[row.pk]))
    assert (listing.status_code, shown.status_code) == (200, 200)
    assert b'name="_save"' not in shown.content


def test_a_search_may_be_deleted_so_that_it_is_done_anew(console):
    searched(a_team())
    before = PlanSearch.objects.count()
    pk = PlanSearch.objects.earliest("pk").pk
    console.post(reverse("admin:advisor_plansearch_delete", args=[pk]), {"post": "yes"})
    assert PlanSearch.objects.count() == before - 1
