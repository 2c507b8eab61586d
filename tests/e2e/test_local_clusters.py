"""Local clusters are real Ray processes: guarded, apart from each other, and gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import psutil
import pytest
from clusters import a_cluster
from django.conf import settings
from django.db.models.functions import Now
from people import a_team
from provider_contract import *  # noqa: F403
from provider_contract import CHIP, a_head, a_spec, a_worker

from apps.clusters import reconcile, selectors, services
from apps.clusters.models import Cluster
from regatta.embedded.paths import run_dir
from regatta.lifecycle.cluster import Door, Seen
from regatta.providers.local import LocalProvider, end_all, processes
from regatta.providers.local.layout import Layout

pytestmark = pytest.mark.timeout(600)
PATIENCE_S = 180.0


@pytest.fixture
def home(tmp_path):
    """A home whose path has a space; nothing of it is left running."""
    folder = tmp_path / "a home"
    yield folder
    end_all(folder)
    shutil.rmtree(run_dir(folder), ignore_errors=True)


@pytest.fixture
def provider(home):
    return LocalProvider(home)


@pytest.fixture
def eventually():
    def check(holds):
        until = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until, "it did not come about"
            time.sleep(0.3)

    return check


def a_running_head(provider, eventually):
    spec = a_spec(a_head())
    provider.start_node(spec, a_head())
    eventually(lambda: provider.look(spec).nodes.get(a_head().name) is Seen.ALIVE)
    return spec


@pytest.fixture(scope="module")
def guarded_head(tmp_path_factory):
    """What a head was started with that lives as long as the tests of this file."""
    home, spec = tmp_path_factory.mktemp("guarded"), a_spec(a_head())
    LocalProvider(home).start_node(spec, a_head())
    until = time.monotonic() + PATIENCE_S
    while LocalProvider(home).look(spec).nodes.get(a_head().name) is not Seen.ALIVE:
        assert time.monotonic() < until
        time.sleep(0.3)
    yield Layout(home).read("clu-1", a_head().name)
    end_all(home)
    shutil.rmtree(run_dir(home), ignore_errors=True)


def processes_of(home, node):
    return [one.process for one in processes.marked(home).get(node, [])]


def kill_raylet(home, node):
    [raylet] = [p for p in processes_of(home, node) if p.name() == "raylet"]
    os.kill(raylet.pid, signal.SIGKILL)


def test_many_at_once_start_one_node(provider, home):
    spec = a_spec(a_head())
    threads = [
        threading.Thread(target=LocalProvider(home).start_node, args=(spec, a_head()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    firsts = [one for one in processes.marked(home)[a_head().name] if one.first]
    assert len(firsts) == 1
    assert end_all(home) >= 1
    assert processes.marked(home) == {}


def test_a_node_outlives_who_started_it_and_gets_no_secret_of_the_portal(
    provider, home, eventually, monkeypatch
):
    secrets = {"DATABASE_URL": "postgres://s3cret", "SECRET_KEY": "s3cret", "BROKER_URL": "s3cret"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    a_running_head(provider, eventually)
    ours = psutil.Process()
    tree = processes_of(home, a_head().name)
    assert {"gcs_server", "raylet"} <= {process.name() for process in tree}
    for process in tree:
        assert "s3cret" not in str(process.environ())
        assert ("t" * 43) not in " ".join([*process.cmdline(), *process.environ().values()])
        assert ours not in process.parents()
        assert os.getsid(process.pid) != os.getsid(0)
    token = home / "clusters" / "clu-1" / "token-s1"
    assert token.stat().st_mode & 0o777 == 0o600


def test_a_node_starts_with_a_python_whose_path_has_a_space(
    provider, home, eventually, monkeypatch, tmp_path
):
    spaced = tmp_path / "my python"
    spaced.symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(spaced / "bin" / Path(sys.executable).name))
    a_running_head(provider, eventually)
    # Ray starts it by the words of a shell, at once, and ends the whole node when it dies.
    assert any(
        "ray.util.client.server" in one.cmdline() for one in processes_of(home, a_head().name)
    )


def test_every_door_that_speaks_http_is_on_the_loopback_and_asks_for_the_token(
    provider, home, eventually
):
    spec = a_running_head(provider, eventually)
    address = provider.look(spec).address
    paths = ["/api/jobs/", "/api/v0/nodes", "/nodes?view=summary", "/api/packages/gcs/x.zip"]
    for path in paths:
        for headers, refused in [({}, 401), ({"Authorization": "Bearer wrong"}, 403)]:
            answer = httpx.get(address + path, headers=headers, trust_env=False, timeout=10)
            assert answer.status_code == refused
    assert urlsplit(address).hostname == "127.0.0.1"
    open_to_all = {
        (process.name(), one.laddr.port)
        for process in processes_of(home, a_head().name)
        for one in process.net_connections("inet")
        if one.status == psutil.CONN_LISTEN and one.laddr.ip in {"0.0.0.0", "::"}
    }
    # Ray binds its own ports between nodes everywhere; none of them speaks HTTP.
    assert {name for name, _ in open_to_all} == {"gcs_server", "raylet", "ray::DashboardAgent"}
    for _, port in open_to_all:
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=2)


@pytest.mark.parametrize(
    ("port", "method"),
    [
        ("port", "NodeInfoGcsService/GetAllNodeInfo"),
        ("port", "InternalKVGcsService/InternalKVKeys"),
        ("node_manager_port", "NodeManagerService/GetNodeStats"),
        ("object_manager_port", "ObjectManagerService/Pull"),
        ("dashboard_agent_grpc_port", "ReporterService/GetTraceback"),
        ("ray_client_server_port", "RayletDriver/ClusterInfo"),
    ],
)
def test_the_ports_between_nodes_ask_for_the_token_too(guarded_head, port, method):
    record = guarded_head
    with grpc.insecure_channel(f"{record.host}:{record.ports[port]}") as channel:
        call = channel.unary_unary(f"/ray.rpc.{method}")
        with pytest.raises(grpc.RpcError) as refusal:
            call(b"", timeout=10)
    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_somebody_else_on_the_port_of_a_head_is_no_head(provider, home, eventually):
    spec = a_running_head(provider, eventually)
    other = a_spec(a_head(), token="another" * 6)
    assert provider.look(spec).door is Door.GUARDED
    assert provider.look(other).door is Door.SILENT


def test_labels_and_simulated_chips_stand_on_the_node_and_are_marked(provider, eventually):
    worker = a_worker(labels={"zone": "a"}, simulated=CHIP)
    spec = a_running_head(provider, eventually)
    spec = a_spec(a_head(), worker)
    provider.start_node(spec, worker)
    eventually(lambda: provider.look(spec).nodes.get(worker.name) is Seen.ALIVE)
    bearer = {"Authorization": f"Bearer {spec.token}"}
    address = provider.look(spec).address
    answer = httpx.get(f"{address}/api/v0/nodes", headers=bearer, trust_env=False, timeout=10)
    nodes = {row["node_name"]: row for row in answer.json()["data"]["result"]["result"]}
    found = nodes[worker.name]
    assert found["resources_total"]["Kunlun-P800"] == 4.0
    assert found["resources_total"]["CPU"] == 1.0
    assert "CPU" not in nodes[a_head().name]["resources_total"]
    expected = {"zone": "a", "simulated": "true", "accelerator": "Kunlun-P800"}
    assert expected.items() <= found["labels"].items()


class Portal:
    """The reconciler over real Ray, in the home of the test run."""

    def sweep(self):
        reconcile.sweep(now=Now())

    def until(self, cluster, state, **also):
        """Sweep until the cluster is in `state` and its columns are as told."""
        until = time.monotonic() + PATIENCE_S
        while True:
            self.sweep()
            row = Cluster.objects.get(pk=cluster.pk)
            if row.state == state and all(getattr(row, k) == v for k, v in also.items()):
                return row
            assert time.monotonic() < until, f"{row.state} ({row.reason}) {row.trouble}"
            time.sleep(0.2)


@contextmanager
def portal():
    try:
        yield Portal()
    finally:
        end_all(settings.REGATTA_HOME)


@pytest.mark.django_db(transaction=True)
def test_two_teams_run_clusters_at_once_lose_nodes_and_leave_nothing_behind():
    home = settings.REGATTA_HOME
    with portal() as here:
        one, two = a_cluster(a_team(), workers=2), a_cluster(a_team(), workers=1)
        one, two = here.until(one, "ready"), here.until(two, "ready")
        first, second = selectors.endpoint(one.pk), selectors.endpoint(two.pk)
        assert first.address != second.address
        assert _status(first.address, first.token) == 200
        assert _status(first.address, second.token) == 403
        assert _status(second.address, first.token) == 403

        kill_raylet(home, f"{one.handle}-s1-n1")
        here.until(one, "degraded")
        row = here.until(one, "ready", session=1)
        names = [node.name for node in selectors.live_nodes(row.pk)]
        assert names == [f"{one.handle}-s1-n{k}" for k in (0, 2, 3)]

        kill_raylet(home, f"{two.handle}-s1-n0")
        two = here.until(two, "ready", session=2)
        assert _status(second.address, second.token) == 0
        assert selectors.endpoint(two.pk).session == 2

        services.want(one, desired="stopped", actor="user:test")
        services.want(two, desired="deleted", actor="user:test")
        here.until(one, "stopped")
        here.until(two, "deleted")
        assert processes.marked(home) == {}
        reconcile.sweep_orphans()
        assert LocalProvider(home).running() == {}
        assert list(run_dir(home).glob("*-s*-n*")) == []
        assert not (home / "clusters" / two.handle).exists()


@pytest.mark.django_db(transaction=True)
def test_nodes_of_a_portal_that_died_are_adopted_and_orphans_are_ended(eventually):
    home = settings.REGATTA_HOME
    with portal() as here:
        cluster = here.until(a_cluster(workers=0), "ready")
        before = {p.pid for p in processes_of(home, f"{cluster.handle}-s1-n0")}
        orphan = a_head("clu-999")
        LocalProvider(home).start_node(a_spec(orphan, cluster="clu-999"), orphan)
        assert orphan.name in LocalProvider(home).running()
        assert reconcile.sweep_orphans() == [orphan.name]
        eventually(lambda: orphan.name not in processes.marked(home))
        reconcile.sweep_orphans()
        assert list(LocalProvider(home).running()) == [f"{cluster.handle}-s1-n0"]
        cluster = here.until(cluster, "ready", session=1)
        assert before <= {p.pid for p in processes_of(home, f"{cluster.handle}-s1-n0")}


def _status(address, token):
    """How the Jobs API answers; 0 when nobody does."""
    bearer = {"Authorization": f"Bearer {token}"}
    try:
        url = f"{address}/api/jobs/"
        return httpx.get(url, headers=bearer, trust_env=False, timeout=10).status_code
    except httpx.TransportError:
        return 0
