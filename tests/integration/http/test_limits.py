"""How often one token may ask, and how many may do at once what takes long."""

from __future__ import annotations

import threading
import time

import pytest
from people import a_team, a_token, a_user, bearer

from apps.accounts.models import ApiToken
from apps.http import limits
from apps.http.problems import Refused

JSON = {"content_type": "application/json"}


@pytest.fixture(autouse=True)
def empty_buckets(monkeypatch):
    monkeypatch.setattr(limits, "_buckets", type(limits._buckets)())


@pytest.fixture
def few(settings):
    """Two of each kind, then none for half a minute."""
    settings.RATE_LIMITS_PER_MIN = {"read": 2, "write": 2, "upload": 2, "new_token": 2}


def test_a_bucket_takes_its_fill_at_once_and_then_as_fast_as_it_fills(few):
    for _ in range(2):
        limits.spend("write", "a", now_s=0.0)
    with pytest.raises(Refused) as refusal:
        limits.spend("write", "a", now_s=1.0)
    assert (refusal.value.status, refusal.value.headers) == (429, {"Retry-After": "29"})
    limits.spend("write", "b", now_s=1.0)  # another's
    limits.spend("read", "a", now_s=1.0)  # of another kind
    limits.spend("write", "a", now_s=31.0)
    with pytest.raises(Refused):
        limits.spend("write", "a", now_s=31.0)


def test_a_rest_however_long_saves_up_no_more_than_a_minutes_worth(few):
    limits.spend("write", "a", now_s=0.0)
    for _ in range(2):
        limits.spend("write", "a", now_s=9999.0)
    with pytest.raises(Refused):
        limits.spend("write", "a", now_s=9999.0)


def test_nought_is_no_limit(settings):
    settings.RATE_LIMITS_PER_MIN = {"write": 0}
    for _ in range(100):
        limits.spend("write", "a", now_s=0.0)


def test_the_least_used_bucket_makes_room(few, monkeypatch):
    monkeypatch.setattr(limits, "_MOST_BUCKETS", 2)
    for who in "abc":
        limits.spend("write", who, now_s=0.0)
    assert [who for _kind, who in limits._buckets] == ["b", "c"]


def test_the_usual_limits_leave_room_for_a_thousand_submissions_in_fifteen_seconds():
    for number in range(2000):  # each sent twice, as by a client in doubt
        limits.spend("write", "a", now_s=15.0 * number / 2000)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/v1/me", "/api/version"])
def test_a_token_that_reads_too_often_is_told_when_to_come_again(client, few, path):
    secret = bearer(a_token(a_team()))
    statuses = [client.get(path, **secret).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    answer = client.get(path, **secret)
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "slow_down"
    assert 0 < int(answer["Retry-After"]) <= 30
    assert client.get(path, **bearer(a_token(a_team()))).status_code == 200


@pytest.mark.django_db
def test_a_write_too_many_changes_nothing(client, few):
    secret = bearer(a_token(a_team()))
    body = {"username": "new", "role": "viewer"}
    for _ in range(2):
        client.post("/api/v1/members", {}, **JSON, **secret)
    assert client.post("/api/v1/members", body, **JSON, **secret).status_code == 429
    assert client.get("/api/v1/members", **secret).json()["items"][1:] == []


@pytest.mark.django_db
def test_large_bodies_are_counted_apart(client, few):
    secret = bearer(a_token(a_team()))
    large = "x" * (1 << 20) + "x"
    sent = [client.post("/api/v1/members", large, **JSON, **secret).status_code for _ in range(3)]
    assert sent == [400, 400, 429]
    assert client.post("/api/v1/members", {}, **JSON, **secret).status_code == 422


@pytest.mark.django_db
def test_a_user_makes_only_so_many_tokens_a_minute_by_any_door(client, few):
    team = a_team()
    secret = a_token(team)
    client.force_login(team.memberships.get().user)
    given = {"name": "ci", "scopes": ["jobs:read"], "days": 7}
    assert client.post(f"/t/{team.slug}/tokens/", given).status_code == 200
    answer = client.post("/api/v1/tokens", given, **JSON, **bearer(secret))
    assert (answer.status_code, answer.json()["code"]) == (429, "slow_down")
    page = client.post(f"/t/{team.slug}/tokens/", given)
    assert "More than 2 such requests a minute" in page.content.decode()
    assert ApiToken.objects.count() == 2


@pytest.mark.django_db
def test_sign_ins_that_fail_too_often_say_when_to_come_again(client):
    a_user("dora", password="a long enough password")
    for _ in range(6):
        client.post("/sign-in/", {"username": "dora", "password": "wrong"})
    answer = client.post("/sign-in/", {"username": "dora", "password": "wrong"})
    assert (answer.status_code, int(answer["Retry-After"]) >= 1) == (429, True)


@pytest.mark.django_db
def test_a_page_asked_for_too_often_says_so_in_words(client, few):
    team = a_team()
    client.force_login(team.memberships.get().user)
    answers = [client.get(f"/t/{team.slug}/tokens/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].content.decode().startswith("More than 2 such requests a minute; wait ")
    assert int(answers[2]["Retry-After"]) > 0


def test_who_finds_a_full_room_is_turned_away_and_the_others_are_served():
    room = limits.Room(working=1, waiting=1)
    began, go_on, done = threading.Event(), threading.Event(), []

    def work():
        with room.enter():
            began.set()
            assert go_on.wait(10)
            done.append(1)

    workers = [threading.Thread(target=work) for _ in range(2)]
    workers[0].start()
    assert began.wait(10)
    workers[1].start()
    until_full_s = time.monotonic() + 10
    while room._door._value and time.monotonic() < until_full_s:
        time.sleep(0.01)
    with pytest.raises(Refused) as refusal, room.enter():
        pass
    assert (refusal.value.status, refusal.value.headers) == (503, {"Retry-After": "2"})
    go_on.set()
    for worker in workers:
        worker.join(10)
    assert done == [1, 1]
    with room.enter():
        pass
