"""Clusters over REST: what is asked is recorded, what cannot be is refused and changes nothing."""

from __future__ import annotations

import json

import pytest
from clusters import a_cluster, a_ready_cluster, sweeps
from django.utils import timezone
from people import a_team, a_token, bearer

from apps.accounts.models import AuditEvent
from apps.clusters.models import Cluster, Node
from apps.clusters.services import NodeWish
from apps.lifecycle.models import Event
from regatta.testing.providers import FakeProvider

pytestmark = pytest.mark.django_db
URL = "/api/v1/clusters"


@pytest.fixture
def team():
    return a_team()


@pytest.fixture
def call(client, team):
    """Call the API as the owner of `team`; the status and the answer."""

    def request(method, path="", body=None, *, token=None, headers=None):
        keywords = bearer(token or a_token(team))
        keywords["headers"] |= headers or {}
        answer = client.generic(
            method,
            URL + path,
            "" if body is None else json.dumps(body),
            content_type="application/json",
            **keywords,
        )
        return answer.status_code, answer.json(), answer

    return request


def test_a_cluster_is_asked_for_and_found_where_location_says(call, client, team):
    simulated = {"chip": "Kunlun-P800", "count": 4}
    node = {"cpus": 2, "memory_gib": 1.5, "labels": {"zone": "a"}, "simulated": simulated}
    status, made, answer = call("POST", body={"name": "demo", "workers": 3, "node": node})
    assert status == 202
    assert (made["name"], made["workers"], made["node"]) == ("demo", 3, node)
    assert made["state"]["state"] == "requested"
    found = client.get(answer["Location"], **bearer(a_token(team))).json()
    assert found["id"] == made["id"]
    assert AuditEvent.objects.filter(action="cluster.create").count() == 1


def test_a_repeated_request_with_the_same_key_makes_one_cluster(call, team):
    token = a_token(team)
    key = {"Idempotency-Key": "k1"}
    first = call("POST", body={"name": "demo"}, token=token, headers=key)
    second = call("POST", body={"name": "demo"}, token=token, headers=key)
    assert (first[0], second[0]) == (202, 202)
    assert first[1]["id"] == second[1]["id"]
    assert second[2]["Location"] == first[2]["Location"]
    assert Cluster.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/body/name"),
        ({"name": "x" * 10_000}, "/body/name"),
        ({"name": "Team Lab"}, "/name"),
        ({"name": "-a"}, "/name"),
        ({"name": "a\n"}, "/name"),
        ({"name": "a", "workers": -1}, "/body/workers"),
        ({"name": "a", "workers": 33}, "/body/workers"),
        ({"name": "a", "provider": "moon"}, "/provider"),
        ({"name": "a", "node": {"cpus": 0}}, "/body/node/cpus"),
        ({"name": "a", "node": {"cpus": 513}}, "/node_cpus"),
        ({"name": "a", "node": {"memory_gib": -1}}, "/body/node/memory_gib"),
        ({"name": "a", "node": {"memory_gib": 0.1}}, "/node_memory_bytes"),
        ({"name": "a", "node": {"labels": {"ray.io/x": "1"}}}, "/node_labels"),
        ({"name": "a", "node": {"labels": {"simulated": "false"}}}, "/node_labels"),
        ({"name": "a", "node": {"labels": {"a": "b,c=d"}}}, "/node_labels"),
        (
            {"name": "a", "node": {"simulated": {"chip": "P800", "count": -4}}},
            "/body/node/simulated/count",
        ),
        ({"name": "a", "node": {"simulated": {"chip": "{}", "count": 4}}}, "/node_chip"),
        ({"name": "a", "node": {"simulated": {"chip": "P800", "count": 65}}}, "/node_chips"),
        ({"name": "a", "size": 3}, "/body/size"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field_and_changes_nothing(call, body, pointer):
    status, problem, _ = call("POST", body=body)
    assert status == 422
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert Cluster.objects.count() == 0
    assert AuditEvent.objects.filter(action="cluster.create").count() == 0


def test_a_name_is_free_again_only_once_its_cluster_is_deleted(call, team):
    first = a_cluster(team, name="demo")
    assert call("POST", body={"name": "demo"})[0] == 422
    Cluster.objects.filter(pk=first.pk).update(state="deleted", desired="deleted")
    assert call("POST", body={"name": "demo"})[0] == 202
    assert a_cluster(a_team(), name="demo").name == "demo"


def test_wishes_are_recorded_once_and_audited(call, team):
    cluster = a_ready_cluster(team)
    path = f"/{cluster.pk}/desired-state"
    for _ in range(2):
        status, answer, _ = call("PUT", path, {"desired": "stopped"})
        assert (status, answer["desired"], answer["state"]["state"]) == (202, "stopped", "ready")
    assert AuditEvent.objects.filter(action="cluster.stopped").count() == 1
    assert call("PUT", path, {"desired": "paused"})[0] == 422
    cluster.refresh_from_db()
    assert cluster.desired == "stopped"
    assert cluster.next_look_at <= timezone.now()


def test_a_failed_cluster_is_tried_again_when_it_is_asked_to_run(call, team):
    cluster = a_cluster(team)
    Cluster.objects.filter(pk=cluster.pk).update(state="failed", failures=5)
    assert call("PUT", f"/{cluster.pk}/desired-state", {"desired": "running"})[0] == 202
    sweeps(FakeProvider(), count=8)
    cluster.refresh_from_db()
    assert cluster.state == "ready"


def test_what_is_being_deleted_stays_so(call, team):
    cluster = a_ready_cluster(team)
    assert call("DELETE", f"/{cluster.pk}")[0] == 202
    assert call("DELETE", f"/{cluster.pk}")[0] == 202
    status, problem, _ = call("PUT", f"/{cluster.pk}/desired-state", {"desired": "running"})
    assert (status, problem["code"]) == (409, "deleted")
    assert call("PUT", f"/{cluster.pk}/size", {"workers": 1})[0] == 409
    cluster.refresh_from_db()
    assert (cluster.desired, cluster.workers) == ("deleted", 2)


def test_a_change_based_on_an_old_reading_is_refused(call, team):
    cluster = a_ready_cluster(team)
    Cluster.objects.filter(pk=cluster.pk).update(generation=7)
    path, body = f"/{cluster.pk}/size", {"workers": 1}
    assert call("PUT", path, body, headers={"If-Match": '"6"'})[0] == 412
    assert call("PUT", path, body, headers={"If-Match": "six"})[0] == 400
    cluster.refresh_from_db()
    assert cluster.workers == 2
    assert call("PUT", path, body, headers={"If-Match": '"7"'})[0] == 202
    cluster.refresh_from_db()
    assert cluster.workers == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("DELETE", "", None),
        ("PUT", "/size", {"workers": 0}),
        ("PUT", "/desired-state", {"desired": "stopped"}),
        ("GET", "/nodes", None),
        ("GET", "/events", None),
    ],
)
def test_another_teams_cluster_is_missing_like_one_that_never_was(call, method, path, body):
    foreign = a_ready_cluster(a_team())
    for pk in (foreign.pk, 999_999, 10**30):
        status, problem, _ = call(method, f"/{pk}{path}", body)
        assert (status, problem["code"]) == (404, "not_found")
    foreign.refresh_from_db()
    assert (foreign.desired, foreign.workers) == ("running", 2)
    assert call("GET")[1]["items"] == []


def test_reading_does_not_allow_writing(call, team):
    token = a_token(team, scopes=["clusters:read"])
    cluster = a_ready_cluster(team)
    assert call("GET", f"/{cluster.pk}", token=token)[0] == 200
    assert call("DELETE", f"/{cluster.pk}", token=token)[0] == 403
    assert call("POST", body={"name": "a"}, token=token)[0] == 403
    assert Cluster.objects.get().desired == "running"


def test_no_answer_holds_the_token_of_the_cluster(call, team):
    cluster = a_ready_cluster(team, token="very-secret")
    for path in ("", f"/{cluster.pk}", f"/{cluster.pk}/nodes", f"/{cluster.pk}/events"):
        text = call("GET", path)[2].content.decode()
        assert "very-secret" not in text
        assert cluster.token not in text


def test_nodes_and_events_tell_what_became_of_a_cluster(call, team):
    cluster = a_cluster(team, workers=1, node=NodeWish(chip="P800", chips=2))
    sweeps(FakeProvider(), count=8)
    nodes = call("GET", f"/{cluster.pk}/nodes")[1]["items"]
    assert [(node["role"], node["kind"], node["simulated"]) for node in nodes] == [
        ("worker", "local:P800", {"chip": "P800", "count": 2}),
        ("head", "local", None),
    ]
    first = call("GET", f"/{cluster.pk}/events?limit=3")[1]
    rest = call("GET", f"/{cluster.pk}/events?limit=200&cursor={first['next']}")[1]
    told = [event["id"] for event in (*first["items"], *rest["items"])]
    assert told == sorted(Event.objects.values_list("pk", flat=True), reverse=True)
    assert rest["next"] is None


def test_the_list_asks_the_database_as_often_for_many_as_for_one(
    call, team, django_assert_max_num_queries
):
    token = a_token(team)
    for _ in range(5):
        a_ready_cluster(team)
    with django_assert_max_num_queries(6):
        items = call("GET", token=token)[1]["items"]
    assert [item["ready_workers"] for item in items] == [2] * 5
    assert Node.objects.count() == 15
