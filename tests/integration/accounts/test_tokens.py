"""Tokens: shown once, kept as digests, never more than their user."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from people import a_member, a_team, a_token, a_user, bearer, owner_of

from apps.accounts import selectors, services
from apps.accounts.models import ApiToken, AuditEvent
from apps.accounts.scopes import SCOPES, Role, Scope
from apps.http.problems import Refused

pytestmark = pytest.mark.django_db


def test_a_token_opens_the_api_in_its_own_team(client):
    team = a_team()
    answer = client.get("/api/v1/me", **bearer(a_token(team)))
    assert answer.json() == {
        "user": owner_of(team).username,
        "team": team.slug,
        "scopes": sorted(Scope.values),
        "platform_admin": False,
    }


def test_only_a_digest_of_a_token_is_kept():
    secret = a_token(a_team())
    row = ApiToken.objects.get()
    assert secret.split("_", 2)[2] not in str(vars(row))
    assert row.sha256 == selectors.digest(secret)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: ApiToken.objects.update(revoked_at=timezone.now()),
        lambda row: ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1)),
        lambda row: services.change_role(row, role=None, actor="test"),
        lambda row: type(row.user).objects.update(is_active=False),
    ],
    ids=["revoked", "expired", "user left the team", "user disabled"],
)
def test_a_token_that_no_longer_holds_is_unknown(client, spoil):
    team = a_team()
    member = a_member(team)
    secret = a_token(team, user=member, scopes=["jobs:read"])
    assert client.get("/api/v1/me", **bearer(secret)).status_code == 200
    spoil(team.memberships.get(user=member))
    answer = client.get("/api/v1/me", **bearer(secret))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer["WWW-Authenticate"] == "Bearer"


def test_the_tokens_of_who_left_stay_ended_when_they_come_back(client):
    team, other = a_team(), a_team()
    member = a_member(team)
    services.invite(team=other, username=member.username, role="member", actor="test")
    here, there = (a_token(one, user=member, scopes=["jobs:read"]) for one in (team, other))
    auth, url = bearer(a_token(team)), "/api/v1/members"
    row = team.memberships.get(user=member)
    assert client.delete(f"{url}/{row.pk}", **auth).status_code == 204
    back = {"username": member.username, "role": "member"}
    assert client.post(url, back, content_type="application/json", **auth).status_code == 201
    assert client.get("/api/v1/me", **bearer(here)).status_code == 401
    assert client.get("/api/v1/me", **bearer(there)).status_code == 200
    ended = AuditEvent.objects.get(action="token.revoke")
    assert (ended.team, ended.subject) == (team, here.split("_")[1])


def test_the_console_ends_the_tokens_of_whom_it_takes_out_of_a_team(client):
    team = a_team()
    row = team.memberships.get(user=a_member(team))
    a_token(team, user=row.user, scopes=["jobs:read"])
    client.force_login(a_user(is_superuser=True, is_staff=True))
    form = {
        **{"slug": team.slug, "name": team.name},
        **{"created_at_0": "2026-01-01", "created_at_1": "00:00"},
        **{"memberships-TOTAL_FORMS": 1, "memberships-INITIAL_FORMS": 1},
        **{"memberships-0-id": row.pk, "memberships-0-team": team.pk},
        **{"memberships-0-user": row.user.pk, "memberships-0-role": row.role},
        "memberships-0-DELETE": "on",
    }
    url = reverse("admin:accounts_team_change", args=[team.pk])
    assert client.post(url, form).status_code == 302
    assert not team.memberships.filter(pk=row.pk).exists()
    assert ApiToken.objects.get().revoked_at is not None


@pytest.mark.parametrize("token", ["", "rgt_", "rgt_12345678_short", "x" * 10_000, "rgt_é"])
def test_a_word_that_is_no_token_is_unknown(client, token):
    answer = client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_a_token_loses_what_its_user_loses():
    team = a_team()
    member = a_member(team, Role.MEMBER)
    secret = a_token(team, user=member, scopes=["jobs:write", "jobs:read"])
    services.change_role(team.memberships.get(user=member), role=Role.VIEWER, actor="test")
    caller = selectors.caller_of_token(secret)
    assert caller is not None
    assert caller.scopes == {Scope.JOBS_READ}


@pytest.mark.parametrize(
    ("scopes", "days", "code"),
    [
        ([], 90, "bad_scopes"),
        (["jobs:write"], 90, "bad_scopes"),
        (["fly"], 90, "bad_scopes"),
        (["jobs:read"], 0, "bad_days"),
        (["jobs:read"], 366, "bad_days"),
    ],
)
def test_a_token_beyond_its_user_is_refused_and_nothing_is_kept(scopes, days, code):
    team = a_team()
    viewer = a_member(team, Role.VIEWER)
    with pytest.raises(Refused) as refusal:
        services.create_token(
            user=viewer, team=team, name="x", scopes=scopes, days=days, actor="test"
        )
    assert refusal.value.code == code
    assert not ApiToken.objects.exists()


def test_a_token_cannot_make_one_that_may_more(client):
    team = a_team()
    secret = a_token(team, scopes=["jobs:read", "tokens:write"])
    body = {"name": "more", "scopes": ["jobs:read", "jobs:write"]}
    answer = client.post("/api/v1/tokens", body, content_type="application/json", **bearer(secret))
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_scopes")
    assert answer.json()["detail"].endswith("of those you hold: jobs:read, tokens:write.")
    assert ApiToken.objects.count() == 1


def test_a_token_made_for_it_makes_a_successor_that_may_the_same(client):
    team = a_team()
    secret = a_token(team, scopes=["jobs:read", "tokens:write"])
    body = {"name": "next", "scopes": ["jobs:read", "tokens:write"], "days": 30}
    answer = client.post("/api/v1/tokens", body, content_type="application/json", **bearer(secret))
    assert answer.status_code == 201
    made = answer.json()
    assert made["created_at"] < made["expires_at"]
    assert selectors.caller_of_token(made["token"]).scopes == {Scope.JOBS_READ, Scope.TOKENS_WRITE}


@pytest.mark.parametrize(("days", "status"), [(1, 201), (2, 201), (3, 422), (365, 422)])
def test_a_token_makes_none_that_outlives_it(client, days, status):
    team = a_team()
    maker = bearer(a_token(team, scopes=["tokens:write", "jobs:read"], days=3))
    body = {"name": "next", "scopes": ["jobs:read"], "days": days}
    answer = client.post("/api/v1/tokens", body, content_type="application/json", **maker)
    assert answer.status_code == status
    if status == 422:
        told, ends = answer.json(), ApiToken.objects.get().expires_at
        assert told["errors"] == [{"pointer": "/days", "code": "outlives_its_maker"}]
        assert f"{ends:%Y-%m-%d %H:%M} UTC" in told["detail"]
        assert "2 days at most" in told["detail"]


def test_a_person_makes_a_token_of_any_length_by_the_page(client):
    team = a_team()
    a_token(team, days=1)
    client.force_login(owner_of(team))
    given = {"name": "ci", "scopes": ["jobs:read"], "days": 365}
    assert client.post(f"/t/{team.slug}/tokens/", given).status_code == 200
    assert ApiToken.objects.count() == 2


@pytest.mark.parametrize("name", ["\u200b", "\u3164", "nightly \u202egro", "a\nb"])
def test_a_tokens_name_can_be_read(client, name):
    team = a_team()
    auth = bearer(a_token(team))
    body = {"name": name, "scopes": ["jobs:read"], "days": 1}
    answer = client.post("/api/v1/tokens", body, content_type="application/json", **auth)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/name")
    client.force_login(owner_of(team))
    page = client.post(f"/t/{team.slug}/tokens/", body | {"days": 7})
    assert (page.status_code, list(page.context["form"].errors)) == (422, ["name"])
    assert ApiToken.objects.count() == 1


def test_a_token_of_reading_neither_makes_tokens_nor_ends_others(client):
    team = a_team()
    a_token(team)
    other = ApiToken.objects.get()
    reading = bearer(a_token(team, scopes=[s for s in Scope.values if s.endswith(":read")]))
    body = {"name": "next", "scopes": ["jobs:read"]}
    made = client.post("/api/v1/tokens", body, content_type="application/json", **reading)
    ended = client.delete(f"/api/v1/tokens/{other.pk}", **reading)
    assert (made.status_code, ended.status_code) == (403, 403)
    assert ApiToken.objects.filter(revoked_at=None).count() == 2


def test_lists_of_people_and_tokens_come_in_pages_like_all_others(client):
    team = a_team()
    made = [a_token(team) for _ in range(2)]
    a_member(team)
    for what in ("tokens", "members"):
        first = client.get(f"/api/v1/{what}?limit=1", **bearer(made[0])).json()
        rest = client.get(f"/api/v1/{what}?cursor={first['next']}", **bearer(made[0])).json()
        assert (len(first["items"]), len(rest["items"]), rest["next"]) == (1, 1, None)
        assert first["items"][0]["id"] > rest["items"][0]["id"]


def test_somebody_elses_token_cannot_be_revoked(client):
    team = a_team()
    other = services.create_token(
        user=a_member(team), team=team, name="x", scopes=["jobs:read"], actor="test"
    )[0]
    answer = client.delete(f"/api/v1/tokens/{other.pk}", **bearer(a_token(team)))
    assert answer.status_code == 404
    assert ApiToken.objects.get(pk=other.pk).revoked_at is None


def test_revoking_twice_is_recorded_once():
    a_token(a_team())
    row = ApiToken.objects.get()
    services.revoke_token(row, actor="test")
    services.revoke_token(row, actor="test")
    assert AuditEvent.objects.filter(action="token.revoke").count() == 1


def test_roles_nest_and_billing_sees_money_but_no_jobs():
    assert SCOPES[Role.VIEWER] < SCOPES[Role.MEMBER] < SCOPES[Role.OWNER]
    assert Scope.COST_READ in SCOPES[Role.BILLING]
    assert Scope.JOBS_READ not in SCOPES[Role.BILLING]
    assert a_user().pk  # a user without a team holds nothing
    assert not selectors.scopes_in(a_user(), a_team())
