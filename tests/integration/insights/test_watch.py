"""Samples of what nodes use: taken, summed up by the minute, and forgotten in time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone
from jobs import a_cluster_of

from apps.accounts import vault
from apps.clusters.models import Node
from apps.insights import selectors, services, watch
from apps.insights.models import NodeMinute, NodeSample

pytestmark = pytest.mark.django_db

GIB = 1 << 30
ADDRESS = "10.0.0.7"


def slots(amount):
    return {"resourceSlots": [{"slot": "0", "allocation": amount}]}


def ray_answers(**node):
    """What a head with one worker says, as Ray 2.60 writes it."""
    group = "579Caacad3068Abd529B249Bc7Ee02000000"
    workers = [
        {"usedResources": {"CPU": slots(1.0), "KunlunP800": slots(0.5)}},
        {"usedResources": {f"CPUGroup{group}": slots(2.0), f"CPUGroup0{group}": slots(2.0)}},
    ]
    raylet = {"nodeId": "abc", "state": "ALIVE", "coreWorkersStats": workers}
    seen = {"ip": ADDRESS, "cpu": 25.0, "cpus": [8, 4], "mem": [16 * GIB, 12 * GIB, 25.0, 4 * GIB]}
    bundle = {"node_id": "abc", "unit_resources": {"CPU": 2.0, "Kunlun-P800": 1.0}}
    gone = {"node_id": "abc", "unit_resources": {"CPU": 4.0}}
    groups = [{"state": "CREATED", "bundles": [bundle]}, {"state": "REMOVED", "bundles": [gone]}]
    return {
        "/nodes": {"data": {"summary": [seen | {"raylet": raylet} | node]}},
        "/api/v0/placement_groups": {"data": {"result": {"result": groups}}},
    }


@contextmanager
def a_head(answers, *, waits_for=None) -> Iterator[str]:
    """Something that answers like a cluster's head; with `waits_for`, only after it is set."""

    class Head(BaseHTTPRequestHandler):
        def do_GET(self):
            if waits_for:
                waits_for.wait(10)
            body = answers.get(self.path.split("?")[0], "")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            allowed = self.headers["Authorization"] == "Bearer its-token"
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Head) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            if waits_for:
                waits_for.set()
            server.shutdown()
            thread.join()


def a_watched_cluster(address):
    cluster = a_cluster_of(address=address, token=vault.seal("its-token"), session=1)
    node = Node.objects.create(
        cluster=cluster,
        session=1,
        number=1,
        name=f"clu-{cluster.pk}-s1-n1",
        role="worker",
        kind="local",
        state="ready",
        cpus=4,
        memory_bytes=16 * GIB,
        chip="Kunlun-P800",
        chips=2,
        address=ADDRESS,
    )
    return cluster, node


def test_a_look_is_kept_as_what_was_used_and_what_was_given_away():
    with a_head(ray_answers()) as address:
        cluster, node = a_watched_cluster(address)
        watch.sample()
    one = NodeSample.objects.get()
    assert (one.cluster_id, one.node_id) == (cluster.pk, node.pk)
    assert (one.cpus, one.cpus_used, one.cpus_allocated) == (4, 2.0, 3.0)
    assert (one.memory_bytes, one.memory_used_bytes) == (16 * GIB, 4 * GIB)
    assert (one.chips, one.chips_used, one.chips_allocated) == (2, None, 1.5)


def test_the_clusters_token_is_sent_to_no_proxy_of_the_environment(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with a_head(ray_answers()) as address:
        a_watched_cluster(address)
        watch.sample()
    assert NodeSample.objects.count() == 1


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"/nodes": b"<html>", "/api/v0/placement_groups": b"<html>"},
        {**ray_answers(), "/api/v0/placement_groups": {"data": None}},
        ray_answers(cpu="much"),
        ray_answers(mem=[1]),
        {**ray_answers(), "/nodes": b" " * (watch.MOST_BYTES + 1)},
    ],
)
def test_nonsense_from_a_cluster_is_no_sample(answers, caplog):
    with a_head(answers) as address:
        a_watched_cluster(address)
        watch.sample()
    assert not NodeSample.objects.exists()
    assert [record.action for record in caplog.records] == ["sample_failed"]


def test_a_node_that_ray_calls_dead_is_no_sample():
    with a_head(ray_answers(raylet={"state": "DEAD"})) as address:
        a_watched_cluster(address)
        watch.sample()
    assert not NodeSample.objects.exists()


def test_a_node_whose_workers_are_not_told_yet_has_no_sample_and_is_no_trouble(caplog):
    young = {"nodeId": "abc", "state": "ALIVE"}
    with a_head(ray_answers(raylet=young)) as address:
        a_watched_cluster(address)
        watch.sample()
    assert not NodeSample.objects.exists()
    assert not [record for record in caplog.records if record.action == "sample_failed"]


def test_a_cluster_that_does_not_answer_spoils_only_its_own_sample(monkeypatch):
    monkeypatch.setattr(watch, "TIMEOUT_S", 0.2)
    never = threading.Event()
    with a_head(ray_answers(), waits_for=never) as silent, a_head(ray_answers()) as address:
        a_watched_cluster(silent)
        cluster, _ = a_watched_cluster(address)
        watch.sample()
    assert NodeSample.objects.get().cluster_id == cluster.pk


def test_without_a_live_cluster_nobody_is_asked():
    a_cluster_of(state="stopped")
    watch.sample()
    assert not NodeSample.objects.exists()


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_sample(at, *, node_id=1, **fields):
    fields = {"cpus": 4, "cpus_used": 1.0, "cpus_allocated": 2.0, "memory_bytes": 8} | fields
    fields = {"memory_used_bytes": 4, "chips": 2, "chips_allocated": 1.0, "cluster_id": 5} | fields
    return NodeSample.objects.create(node_id=node_id, at=at, **fields)


def test_a_minute_holds_the_means_of_its_samples():
    a_sample(NOON, cpus_used=1.0)
    a_sample(NOON + timedelta(seconds=59), cpus_used=2.0)
    a_sample(NOON + timedelta(seconds=60), cpus_used=4.0)
    services.roll_up()
    rows = NodeMinute.objects.order_by("minute").values_list("minute", "samples", "cpus_used")
    assert list(rows) == [(NOON, 2, 1.5), (NOON + timedelta(minutes=1), 1, 4.0)]


def test_summing_up_again_changes_nothing_but_the_minute_that_goes_on():
    a_sample(NOON)
    services.roll_up()
    services.roll_up()
    a_sample(NOON + timedelta(seconds=30), cpus_used=3.0)
    services.roll_up()
    assert list(NodeMinute.objects.values_list("samples", "cpus_used")) == [(2, 2.0)]


def test_samples_are_forgotten_after_a_week_and_minutes_after_a_quarter():
    now = timezone.now()
    for days in (6, 8, 89, 91):
        a_sample(now - timedelta(days=days))
    services.roll_up()
    services.prune()
    assert NodeSample.objects.count() == 1
    assert NodeMinute.objects.count() == 3


def test_use_over_time_is_the_sum_over_the_nodes_of_their_means():
    at = timezone.now() - timedelta(minutes=2)
    start = at.replace(second=0, microsecond=0)
    for second in (0, 5):
        a_sample(start + timedelta(seconds=second), node_id=1, cpus_used=1.0 + second)
    a_sample(start, node_id=2, cpus_used=1.0)
    [use] = selectors.use_over_time(5, selectors.WINDOWS["15m"])
    assert (use.at, use.cpus, use.cpus_used, use.cpus_allocated) == (start, 8.0, 4.5, 4.0)


def test_long_windows_are_read_from_minutes():
    start = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=20)
    for minute in range(3):
        a_sample(start + timedelta(minutes=minute), cpus_used=float(minute))
    services.roll_up()
    NodeSample.objects.all().delete()
    uses = selectors.use_over_time(5, selectors.WINDOWS["1h"])
    assert [use.cpus_used for use in uses] == [0.0, 1.0, 2.0]
    assert selectors.use_over_time(5, selectors.WINDOWS["15m"]) == []


def test_an_old_sample_says_nothing_about_now():
    now = timezone.now()
    a_sample(now - timedelta(seconds=40), node_id=1)
    fresh = a_sample(now - timedelta(seconds=10), node_id=2)
    a_sample(now - timedelta(seconds=20), node_id=2)
    assert selectors.latest_samples(5) == {2: fresh}


def test_a_cluster_whose_token_cannot_be_read_spoils_no_other_sample():
    with a_head(ray_answers()) as address:
        spoiled, _ = a_watched_cluster(address)
        type(spoiled).objects.filter(pk=spoiled.pk).update(token="spoiled")
        cluster, _ = a_watched_cluster(address)
        watch.sample()
    assert NodeSample.objects.get().cluster_id == cluster.pk
