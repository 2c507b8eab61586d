"""The page of a team's secrets: names for all who see jobs, values for nobody."""

from __future__ import annotations

import pytest
from clusters import a_ready_cluster
from jobs import a_job
from people import a_member, a_team, owner_of

from apps.accounts.models import AuditEvent
from apps.accounts.scopes import Role
from apps.jobs import secrets
from apps.jobs.models import Secret

pytestmark = pytest.mark.django_db
PAGE = "/t/crew/secrets/"


@pytest.fixture
def team():
    return a_team("crew")


@pytest.fixture
def owner(client, team):
    client.force_login(owner_of(team))
    return client


def a_secret(team, name="hf-token", value="hf_1234"):
    secrets.set_secret(team=team, name=name, value=value, actor="ada")
    return Secret.objects.get(team=team, name=name)


def test_a_secret_is_kept_with_the_line_ends_of_a_file_and_never_shown(owner, team):
    answer = owner.post(PAGE, {"name": "key", "value": "-- BEGIN --\r\nabc\r\n"}, follow=True)
    words = answer.content.decode()
    assert "secret:key" in words
    assert "BEGIN" not in words
    assert secrets.vault.open_(Secret.objects.get().sealed) == "-- BEGIN --\nabc\n"


def test_what_was_typed_into_a_refused_form_does_not_come_back(owner, team):
    answer = owner.post(PAGE, {"name": "no spaces", "value": "hf_1234"})
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == ["name"]
    assert "hf_1234" not in answer.content.decode()
    assert not Secret.objects.exists()


def test_a_name_that_is_taken_is_told_and_the_value_stays(owner, team):
    kept = a_secret(team)
    answer = owner.post(PAGE, {"name": "hf-token", "value": "other"})
    assert list(answer.context["form"].errors) == ["name"]
    assert Secret.objects.get().sealed == kept.sealed


def test_a_value_is_replaced_at_its_own_address(owner, team):
    kept = a_secret(team)
    assert "hf_1234" not in owner.get(f"{PAGE}hf-token/").content.decode()
    assert owner.post(f"{PAGE}hf-token/", {"value": ""}).status_code == 422
    assert owner.post(f"{PAGE}hf-token/", {"value": "new"}).status_code == 302
    now = Secret.objects.get()
    assert secrets.vault.open_(now.sealed) == "new"
    assert now.set_by != kept.set_by
    assert owner.post(f"{PAGE}unknown/", {"value": "x"}).status_code == 404


def test_a_secret_is_forgotten_and_the_record_says_so(owner, team):
    a_secret(team)
    assert owner.post(f"{PAGE}hf-token/delete/").status_code == 302
    assert not Secret.objects.exists()
    assert AuditEvent.objects.filter(action="secret.delete", subject="hf-token").exists()


def test_the_page_says_how_many_live_jobs_take_a_secret(owner, team):
    a_secret(team)
    cluster = a_ready_cluster(team, name="lab")
    a_job(cluster, secret_env={"HF_TOKEN": "hf-token", "HF_AGAIN": "hf-token"})
    a_job(cluster)
    assert [users for _secret, users in owner.get(PAGE).context["rows"]] == [1]


def test_the_form_of_a_job_offers_the_secrets_as_variables(owner, team):
    a_ready_cluster(team, name="lab")
    a_secret(team)
    assert (
        'data-line="HF_TOKEN=secret:hf-token"' in owner.get("/t/crew/jobs/new/").content.decode()
    )


def test_a_viewer_sees_the_names_and_can_change_nothing(client, team):
    a_secret(team)
    client.force_login(a_member(team, Role.VIEWER))
    words = client.get(PAGE).content.decode()
    assert "hf-token" in words
    assert "<textarea" not in words
    assert client.post(f"{PAGE}hf-token/delete/").status_code == 403
    assert Secret.objects.exists()
