"""A cluster's cost is that of its nodes' lives, and what its jobs did not use was idle."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from costs import NOON, a_meter, a_price, after
from django.test import Client
from jobs import a_cluster_of
from people import a_member, a_team, a_token, bearer

from apps.accounts.scopes import Role, Scope
from apps.clusters.models import Node
from apps.costs import selectors
from apps.costs.models import PriceInterval

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def a_node(cluster, *, start_h=0.0, end_h=None, kind="h200", began=None):
    number = cluster.nodes.count()
    return Node.objects.create(
        cluster=cluster,
        session=1,
        number=number,
        name=f"c{cluster.pk}-n{number}",
        role="worker",
        kind=kind,
        state="ready" if end_h is None else "gone",
        cpus=1,
        memory_bytes=1 << 30,
        started_at=began or after(start_h),
        ended_at=None if end_h is None else after(end_h),
    )


@pytest.fixture
def cluster():
    return a_cluster_of()


def a_job_meter(cluster, name="jobs.attempt:1", **fields):
    a_meter(name, team=cluster.team, on=f"clusters.cluster:{cluster.pk}", **fields)


def test_each_node_costs_from_its_start_to_its_end_at_the_prices_of_the_time(cluster):
    a_price("2", from_h=-9, to_h=1)
    a_price("4", from_h=1)
    a_node(cluster, end_h=2)
    a_node(cluster, start_h=1)
    assert selectors.cluster_books(cluster.pk, now=after(3)).total.usd == Decimal(2 + 4 + 8)


def test_the_cost_goes_on_until_the_node_is_gone_not_until_it_was_to_go(cluster):
    a_price("2", from_h=-9)
    node = a_node(cluster)
    Node.objects.filter(pk=node.pk).update(state="ready", reason="stopping")
    assert selectors.cluster_books(cluster.pk, now=after(5)).total.usd == Decimal(10)


def test_jobs_and_idle_time_make_up_the_cluster_to_the_last_fraction(cluster):
    a_price("3.333333", from_h=-9)
    a_node(cluster, end_h=3)
    a_node(cluster, end_h=3)
    a_job_meter(cluster, kinds={"h200": Decimal("0.333333")}, start_h=0.7, stop_h=1.9)
    books = selectors.cluster_books(cluster.pk)
    assert books.total.usd == books.jobs.usd + books.idle_usd
    assert books.idle_usd > 0


def test_a_cluster_without_nodes_has_cost_nothing_and_is_not_idle(cluster):
    books = selectors.cluster_books(cluster.pk)
    assert (books.total.usd, books.idle_usd) == (0, 0)


def test_without_a_price_cost_and_idle_are_unknown_and_the_gap_is_named(cluster):
    a_node(cluster, end_h=2)
    books = selectors.cluster_books(cluster.pk)
    assert (books.total.usd, books.idle_usd) == (None, None)
    assert [gap.kind for gap in books.total.gaps] == ["h200"]


def test_a_job_is_charged_nothing_once_its_cluster_has_stopped(cluster):
    a_price("1", from_h=-9)
    a_node(cluster, end_h=1)
    a_job_meter(cluster, stop_h=2)
    books = selectors.cluster_books(cluster.pk)
    assert (books.jobs.usd, books.idle_usd) == (1, 0)
    assert selectors.cost_usd("jobs.attempt:1") == 1


def test_jobs_pay_for_the_nodes_that_are_left_after_a_loss_and_no_more_together(cluster):
    a_price("1", from_h=-9, to_h=1)
    a_price("2", from_h=1)
    a_node(cluster, end_h=2)
    a_node(cluster, end_h=1)
    a_job_meter(cluster, "jobs.attempt:1", kinds={"h200": Decimal("1.5")}, stop_h=2)
    a_job_meter(cluster, "jobs.attempt:2", kinds={"h200": Decimal("0.5")}, stop_h=2)
    books = selectors.cluster_books(cluster.pk)
    assert (books.total.usd, books.jobs.usd, books.idle_usd) == (4, 4, 0)
    names = ["jobs.attempt:1", "jobs.attempt:2"]
    assert selectors.costs_usd(names) == dict(zip(names, [3, 1], strict=True))
    assert [selectors.cost_usd(name) for name in names] == [3, 1]


def test_what_pages_ask_grows_with_no_cluster_and_reads_none_that_ended_before(
    cluster, django_assert_num_queries
):
    a_price("1", from_h=-9_999)

    def one_more(number, *, ended_h=None):
        other = a_cluster_of(cluster.team)
        a_node(other, start_h=-2_000 if ended_h else -9, end_h=ended_h)
        name, on = f"jobs.attempt:{number}", f"clusters.cluster:{other.pk}"
        stop_h = -1_500 if ended_h else None
        a_meter(name, team=cluster.team, on=on, start_h=-1_600 if ended_h else -1, stop_h=stop_h)

    for number in range(2):
        one_more(number)
    with django_assert_num_queries(4):
        selectors.summary(cluster.team_id, now=NOON)
    for number in range(2, 22):
        one_more(number, ended_h=None if number % 2 else -1_000)
    with django_assert_num_queries(4):
        now = selectors.summary(cluster.team_id, now=NOON)
    assert (len(now.by_cluster), now.month_usd, now.month_jobs_usd) == (12, 12 * 9, 12)
    with django_assert_num_queries(4):
        selectors.costs_usd([f"jobs.attempt:{number}" for number in range(22)])


def test_the_summary_counts_this_month_and_the_nodes_of_now(cluster):
    a_price("1", from_h=-9_999)
    a_node(cluster, began=datetime(2026, 2, 20, tzinfo=UTC))
    a_node(cluster, start_h=-2, end_h=-1)
    a_job_meter(cluster, start_h=-24, stop_h=0)
    a_node(a_cluster_of(), start_h=-5)  # another team's
    now = selectors.summary(cluster.team_id, now=NOON)
    hours = (NOON - MARCH).total_seconds() / 3600
    assert (now.hourly_usd, now.month_from) == (Decimal(1), MARCH)
    assert now.month_usd == Decimal(str(hours)) + 1
    assert (now.month_jobs_usd, now.month_idle_usd) == (24, now.month_usd - 24)
    assert (now.unpriced, now.sample) == ((), False)


def test_the_summary_names_what_has_no_price_and_says_what_is_sample_data(cluster):
    a_node(cluster, start_h=-1)
    a_node(cluster, start_h=-1, kind="local:P800")
    now = selectors.summary(cluster.team_id, now=NOON)
    assert (now.hourly_usd, now.month_usd) == (None, None)
    assert (now.unpriced, now.sample) == (("h200",), True)


# Over the API.


def ask(team, path, *, user=None, scopes=None, body=None, **extra):
    headers = bearer(a_token(team, user=user, scopes=scopes))
    if body is None:
        return Client().get(f"/api/v1{path}", **headers)
    return Client().post(
        f"/api/v1{path}", body, content_type="application/json", **headers, **extra
    )


def test_a_clusters_cost_is_told_to_its_team_alone(cluster):
    a_price("2", from_h=-9)
    a_node(cluster, end_h=1)
    told = ask(cluster.team, f"/costs/clusters/{cluster.pk}").json()
    assert told == {
        "cluster_id": cluster.pk,
        "usd": "2",
        "known_usd": "2",
        "jobs_usd": "0",
        "idle_usd": "2",
        "gaps": [],
    }
    assert ask(a_team(), f"/costs/clusters/{cluster.pk}").status_code == 404


def test_an_owner_sets_a_price_for_the_own_team_alone():
    ours, theirs = a_team(), a_team()
    answer = ask(ours, "/prices", body={"kind": "h200", "usd_per_hour": "2.5"})
    assert (answer.status_code, answer.json()["usd_per_hour"]) == (201, "2.5")
    kinds = [row["kind"] for row in ask(theirs, "/prices").json()]
    assert "h200" not in kinds
    assert [row["kind"] for row in ask(ours, "/prices").json()] == ["h200", *kinds]


def test_a_member_may_see_prices_and_not_set_them():
    team = a_team()
    member = a_member(team, Role.MEMBER)
    scopes = [Scope.COST_READ.value]
    body = {"kind": "h200", "usd_per_hour": "1"}
    assert ask(team, "/prices", user=member, scopes=scopes).status_code == 200
    assert ask(team, "/prices", user=member, scopes=scopes, body=body).status_code == 403
    assert not PriceInterval.objects.filter(kind="h200").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"usd_per_hour": "-1"},
        {"usd_per_hour": "NaN"},
        {"usd_per_hour": "1.1234567"},
        {"kind": ""},
        {"kind": "x" * 10_000},
        {"team": 1},
    ],
)
def test_a_wrong_price_is_refused_and_changes_nothing(wrong):
    body = {"kind": "h200", "usd_per_hour": "1"} | wrong
    answer = ask(a_team(), "/prices", body=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert PriceInterval.objects.count() == 1  # the sample


def test_a_month_of_the_summary_is_told_in_strings_that_lose_nothing(cluster):
    told = ask(cluster.team, "/costs/summary").json()
    assert (told["hourly_usd"], told["month_usd"], told["sample"]) == ("0", "0", False)
