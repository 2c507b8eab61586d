"""Panels: pages of their own, parts for others, and nobody else's."""

from __future__ import annotations

import json
import re
from uuid import uuid4

import pytest
from clusters import a_ready_cluster
from django.test import Client
from django.utils import timezone
from jobs import a_cluster_of
from metrics import an_attempt
from people import a_team, owner_of

from apps.clusters import selectors as clusters
from apps.clusters.services import NodeWish
from apps.insights import services
from apps.insights.models import NodeSample
from regatta.telemetry.batch import decode, encode

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def no_memory_of_other_tests():
    services._key_ids.clear()
    services._told.clear()


def signed_in(team):
    client = Client()
    client.force_login(owner_of(team))
    return client


def told(attempt, *points):
    body = encode(points, stream=str(uuid4()), seq=1, rank=0, dropped=0)
    services.take_in(decode(body), attempt_id=attempt.pk)


def seen(cluster, **fields):
    """A sample of each of its nodes, just now."""
    about = {"cpus_used": 0.5, "cpus_allocated": 1.0, "memory_used_bytes": 1 << 29}
    about |= {"chips_allocated": 1.0} | fields
    for node in clusters.live_nodes(cluster.pk):
        has = {"cpus": node.cpus, "memory_bytes": node.memory_bytes, "chips": node.chips}
        NodeSample.objects.create(
            node_id=node.pk, cluster_id=cluster.pk, at=timezone.now(), **has, **about
        )


def figures(page):
    found = re.findall(r'<script id="([^"]+)" type="application/json">(.+?)</script>', page)
    return {name: json.loads(text) for name, text in found}


def test_a_job_s_panel_holds_its_figures_and_asks_again_while_it_runs():
    attempt = an_attempt()
    told(attempt, ("loss", 1, 4.5, 1.0), ("loss", 2, 2.5, 1.0), ("step_s", 2, 0.1, 1.0))
    team = attempt.job.team
    page = signed_in(team).get(f"/t/{team.slug}/insights/jobs/{attempt.job_id}/", headers=HTMX)
    text = page.content.decode()
    assert "<html" not in text
    drawn = figures(text)
    assert list(drawn) == ["job-metric-loss-figure", "job-metric-step-s-figure"]
    assert drawn["job-metric-loss-figure"]["data"][0]["y"] == [4.5, 2.5]
    assert 'hx-trigger="every 3s"' in text
    assert "From 4.5000 to 2.5000 at step 2." in text


def test_a_job_that_has_ended_is_not_asked_again():
    attempt = an_attempt()
    told(attempt, ("loss", 1, 4.5, 1.0))
    type(attempt.job).objects.filter(pk=attempt.job_id).update(state="succeeded")
    team = attempt.job.team
    page = signed_in(team).get(f"/t/{team.slug}/insights/jobs/{attempt.job_id}/", headers=HTMX)
    assert "hx-trigger" not in page.content.decode()


def test_the_same_as_a_table_and_as_a_page_of_its_own():
    attempt = an_attempt()
    told(attempt, ("loss", 1, 4.5, 1.0))
    team = attempt.job.team
    page = signed_in(team).get(f"/t/{team.slug}/insights/jobs/{attempt.job_id}/?table=1")
    text = page.content.decode()
    assert "<html" in text
    assert '<td>1</td><td class="number">4.5000</td>' in text
    assert figures(text) == {}


def test_a_job_without_metrics_says_how_to_report_them():
    attempt = an_attempt()
    team = attempt.job.team
    page = signed_in(team).get(f"/t/{team.slug}/insights/jobs/{attempt.job_id}/", headers=HTMX)
    assert "telemetry.report(step=1" in page.content.decode()


def test_a_heat_map_shows_each_node_with_its_numbers():
    cluster = a_ready_cluster(node=NodeWish(chip="Kunlun-P800", chips=2))
    seen(cluster)
    address = f"/t/{cluster.team.slug}/insights/clusters/{cluster.pk}/nodes/"
    text = signed_in(cluster.team).get(address, headers=HTMX).content.decode()
    for node in clusters.live_nodes(cluster.pk):
        assert node.name in text
    assert "0.5 of 1 CPUs busy" in text
    assert "100 % of a simulated Kunlun-P800 given to work" in text


def test_use_over_time_has_a_chart_for_each_thing_a_cluster_offers():
    cluster = a_ready_cluster(node=NodeWish(chip="Kunlun-P800", chips=2))
    seen(cluster)
    address = f"/t/{cluster.team.slug}/insights/clusters/{cluster.pk}/"
    text = signed_in(cluster.team).get(address, headers=HTMX).content.decode()
    name = f"use-{cluster.pk}-15m-use"
    assert list(figures(text)) == [f"{name}-{what}-figure" for what in ("cpus", "memory", "chips")]


@pytest.mark.parametrize("window", ["15m", "1h", "24h", "nonsense"])
def test_a_cluster_that_nobody_looked_at_says_so(window):
    cluster = a_ready_cluster()
    address = f"/t/{cluster.team.slug}/insights/clusters/{cluster.pk}/?window={window}"
    text = signed_in(cluster.team).get(address, headers=HTMX).content.decode()
    assert "Nothing was seen of it in this time." in text


def test_home_sets_what_is_given_to_work_against_what_it_uses():
    cluster = a_ready_cluster(workers=2)
    seen(cluster)
    team = cluster.team
    address = f"/t/{team.slug}/insights/home/"
    text = signed_in(team).get(address, headers=HTMX).content.decode()
    assert "<span>2 / 2</span>" in text  # the head, which offers no CPU, is not counted
    assert "<span>1.0 / 2</span>" in text


def test_home_of_a_team_without_clusters_says_that_nothing_runs():
    team = a_team()
    text = signed_in(team).get(f"/t/{team.slug}/insights/home/", headers=HTMX).content.decode()
    assert "No cluster runs" in text


def test_dashboards_hold_the_panels_of_the_team_s_live_clusters():
    cluster, foreign = a_ready_cluster(), a_ready_cluster()
    text = signed_in(cluster.team).get(f"/t/{cluster.team.slug}/insights/").content.decode()
    assert f"insights/clusters/{cluster.pk}/nodes/" in text
    assert f"insights/clusters/{foreign.pk}/" not in text


@pytest.mark.parametrize(
    "panel", ["jobs/{job}/", "clusters/{cluster}/", "clusters/{cluster}/nodes/"]
)
def test_what_belongs_to_another_team_is_not_found(panel):
    cluster = a_cluster_of()
    attempt, team = an_attempt(cluster=cluster), a_team()
    path = panel.format(job=attempt.job_id, cluster=cluster.pk)
    assert signed_in(team).get(f"/t/{team.slug}/insights/{path}").status_code == 404
