"""Links, sign-in, members: nobody in by default, nobody out by accident."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import timedelta
from io import StringIO

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import RequestFactory
from django.utils import timezone
from people import a_member, a_team, a_token, a_user, owner_of

from apps.accounts import selectors, services
from apps.accounts.models import OneTimeLink, SignInTrouble, Team, User
from apps.accounts.scopes import Role
from apps.http.problems import Refused

pytestmark = pytest.mark.django_db
GOOD = "a long and quiet river"


def test_a_new_portal_has_no_password_at_all():
    admin = services.first_start()
    assert not admin.has_usable_password()
    assert selectors.nobody_can_sign_in()


def test_the_first_start_happens_once():
    services.first_start()
    services.first_start()
    assert (User.objects.count(), Team.objects.count()) == (1, 1)


def test_the_first_start_prints_a_link_and_a_token_that_work(client):
    out = StringIO()
    call_command("first_start", "--json", "--token", "demo", stdout=out)
    said = json.loads(out.getvalue())
    assert selectors.open_link(said["link"].rstrip("/").rsplit("/", 1)[1]) is not None
    caller = selectors.caller_of_token(said["token"])
    assert caller is not None
    assert caller.team.slug == said["team"]


def test_a_link_signs_in_once():
    code = services.one_time_link(a_user())
    services.use_link(code, password=GOOD)
    with pytest.raises(Refused, match="used up"):
        services.use_link(code)


def test_a_later_link_ends_the_earlier_one():
    user = a_user()
    first = services.one_time_link(user)
    services.one_time_link(user)
    with pytest.raises(Refused):
        services.use_link(first)


def test_an_expired_link_opens_nothing():
    code = services.one_time_link(a_user())
    OneTimeLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Refused):
        services.use_link(code)


def test_a_weak_password_leaves_the_link_unused():
    code = services.one_time_link(a_user())
    with pytest.raises(ValidationError):
        services.use_link(code, password="password")
    assert selectors.open_link(code) is not None


def sign_in(username, password):
    return services.sign_in(RequestFactory().post("/"), username=username, password=password)


def test_a_wrong_name_and_a_wrong_password_are_told_alike():
    a_user("alice", password=GOOD)
    said = set()
    for name in ["alice", "nobody"]:
        with pytest.raises(Refused) as refusal:
            sign_in(name, "wrong")
        said.add((refusal.value.code, refusal.value.detail, refusal.value.status))
    assert len(said) == 1


def test_tries_slow_down_after_five_failures_and_are_free_again_after_success():
    a_user("alice", password=GOOD)
    for _ in range(5):
        with pytest.raises(Refused, match="wrong"):
            sign_in("alice", "wrong")
    with pytest.raises(Refused) as refusal:
        sign_in("alice", GOOD)
    assert (refusal.value.code, refusal.value.status) == ("slow_down", 429)
    SignInTrouble.objects.update(until=timezone.now())
    assert sign_in("alice", GOOD).username == "alice"
    assert not SignInTrouble.objects.exists()


def test_a_team_keeps_an_owner():
    team = a_team()
    row = team.memberships.get()
    for role in [Role.VIEWER, None]:
        with pytest.raises(Refused, match="at least one owner"):
            services.change_role(row, role=role, actor="test")
    assert team.memberships.get().role == Role.OWNER


def test_an_invited_person_gets_a_link_and_a_known_one_needs_none():
    team, known = a_team(), a_user("bob", password=GOOD)
    _user, code = services.invite(team=team, username="carol", role="member", actor="test")
    assert selectors.open_link(code) is not None
    assert services.invite(team=team, username="bob", role="viewer", actor="test") == (known, "")


def test_who_holds_a_persons_first_link_does_not_come_by_it_into_another_team():
    first, second = a_team(), a_team()
    carol, code = services.invite(team=first, username="carol", role="member", actor="test")
    with pytest.raises(Refused, match="has not signed in yet") as refusal:
        services.invite(team=second, username="carol", role="member", actor="test")
    assert (refusal.value.code, refusal.value.status) == ("not_signed_in_yet", 409)
    assert list(selectors.teams_of(carol)) == [first]
    services.use_link(code)
    assert services.invite(team=second, username="carol", role="member", actor="test")[1] == ""


def test_a_link_that_nobody_used_in_time_keeps_no_team_from_adding_the_person():
    carol, _code = services.invite(team=a_team(), username="carol", role="member", actor="test")
    OneTimeLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert services.invite(team=a_team(), username="carol", role="viewer", actor="test")[1] == ""
    assert not OneTimeLink.objects.filter(user=carol, expires_at__gt=timezone.now()).exists()


def test_who_was_never_in_and_is_in_no_team_is_invited_like_a_new_person():
    team = a_team()
    carol, before = services.invite(team=team, username="carol", role="member", actor="test")
    services.change_role(carol.memberships.get(), role=None, actor="test")
    again, code = services.invite(team=a_team(), username="carol", role="member", actor="test")
    assert again == carol
    assert selectors.open_link(before) is None
    assert selectors.open_link(code) is not None


@pytest.mark.parametrize(
    "some",
    [{"is_superuser": True}, {"last_login": timezone.now()}, {"password": GOOD}],
    ids=["admin", "was in", "has a password"],
)
def test_no_link_is_made_for_an_account_that_is_somebodys(some):
    a_user("carol", **some)
    assert services.invite(team=a_team(), username="carol", role="viewer", actor="test")[1] == ""
    assert not OneTimeLink.objects.exists()


@pytest.mark.parametrize(
    ("username", "role"),
    [("x" * 151, "member"), ("a b", "member"), ("", "member"), ("eve", "king")],
)
def test_a_senseless_invitation_changes_nothing(username, role):
    team = a_team()
    with pytest.raises((Refused, ValidationError)):
        services.invite(team=team, username=username, role=role, actor="test")
    assert User.objects.count() == 1


def test_a_person_is_invited_once():
    team = a_team()
    member = a_member(team)
    with pytest.raises(Refused, match="already"):
        services.invite(team=team, username=member.username, role="member", actor="test")


@pytest.mark.parametrize("slug", ["", "Upper", "with space", "../x", "-a", "x" * 41])
def test_a_slug_that_is_none_makes_no_team(slug):
    owner = a_user()
    with pytest.raises(ValidationError):
        services.create_team(slug=slug, name="x", owner=owner, actor="test")
    assert not Team.objects.exists()


def test_what_people_do_is_recorded_with_who_did_it():
    team = a_team()
    services.invite(team=team, username="carol", role="member", actor="user:alice")
    newest = selectors.audit_record(team)[0]
    assert (newest.actor, newest.action, newest.subject) == ("user:alice", "member.add", "carol")
    assert owner_of(team) is not None


def test_a_link_is_offered_only_while_nobody_can_sign_in():
    out = StringIO()
    call_command("first_start", "--if-new", stdout=out)
    assert "/link/" in out.getvalue()
    admin = User.objects.get()
    admin.set_password(GOOD)
    admin.save()
    again = StringIO()
    call_command("first_start", "--if-new", stdout=again)
    assert again.getvalue() == ""


def test_a_link_for_a_member_lets_that_member_in():
    services.first_start()
    member, out = a_member(Team.objects.get()), StringIO()
    call_command("first_start", "--json", "--user", member.username, stdout=out)
    code = json.loads(out.getvalue())["link"].rstrip("/").rsplit("/", 1)[1]
    assert services.use_link(code) == member
    with pytest.raises(CommandError, match="no user nobody"):
        call_command("first_start", "--user", "nobody")


def test_a_token_is_known_by_one_query(django_assert_num_queries):
    team = a_team()
    secret = a_token(team)
    selectors.caller_of_token(secret)  # notes that it was used
    with django_assert_num_queries(1):
        assert selectors.caller_of_token(secret) is not None


def test_a_plain_user_of_the_admins_name_is_not_made_admin():
    a_user("admin")
    a_user("admin2")
    made = services.first_start()
    assert (made.username, made.is_superuser) == ("admin3", True)
    assert not User.objects.filter(username__in=["admin", "admin2"], is_superuser=True).exists()


def test_the_link_leads_to_the_portal_that_runs_in_this_home(settings, tmp_path, monkeypatch):
    settings.REGATTA_HOME = tmp_path
    monkeypatch.delenv("REGATTA_URL", raising=False)
    with (tmp_path / "lock").open("w") as lock:
        lock.write(json.dumps({"pid": os.getpid(), "host": "0.0.0.0", "port": 8123}))
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert _a_link().startswith("http://127.0.0.1:8123/link/")
        monkeypatch.setenv("REGATTA_URL", settings.REGATTA_URL)
        assert _a_link().startswith(f"{settings.REGATTA_URL}/link/")
    monkeypatch.delenv("REGATTA_URL")
    assert _a_link().startswith(f"{settings.REGATTA_URL}/link/"), "nothing runs here now"


def _a_link() -> str:
    out = StringIO()
    call_command("first_start", "--json", stdout=out)
    return json.loads(out.getvalue())["link"]
