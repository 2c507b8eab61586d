"""Searches of plans for sizing: done once, one at a time, by whoever comes, and kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from apps.advisor import search_services as services
from apps.advisor import search_work, tasks
from apps.advisor.models import PlanSearch
from apps.http.problems import Refused
from regatta.hardware.catalogue import FIGURES, catalogue, overlaid
from regatta.planning.hf import known_models, read_model
from regatta.planning.sizing import Offer, Training, searched

pytestmark = pytest.mark.django_db
SMALL = read_model(known_models()["gpt2"], seq_len=1024)


def training(**others):
    return Training(**{"shape": SMALL, "tokens": 1e9, "global_batch": 64, **others})


def offers(*names, counts=(8,), usd=2.0):
    return [Offer(chip=catalogue()[name], usd_per_hour=usd, counts=counts) for name in names]


def wanted(*names, request=None, **others):
    return ask(offers(*names, **others), request=request)


def ask(chips, *, request=None, actor="user:t"):
    asked = [search_work.sizes(request or training(), one) for one in chips]
    return services.ask(asked, actor=actor)


def work():
    done = 0
    while services.search_next(now=Now() + services.PATIENCE):
        done += 1
    return done


def test_what_was_found_is_what_the_engine_finds():
    [row] = wanted("H100-80GB", counts=(8, 16))
    assert row.found is None
    assert work() == 1
    row.refresh_from_db()
    [offer] = offers("H100-80GB", counts=(8, 16))
    assert search_work.found(row.found) == searched(training(), offer)


def test_a_miss_is_kept_with_its_reason():
    [row] = wanted("T4")
    work()
    row.refresh_from_db()
    kept = search_work.found(row.found)
    assert kept.best == ()
    assert kept.lack == float("inf")
    assert "no bf16 peak" in kept.miss


def test_other_prices_tokens_and_limits_take_no_other_search():
    first = wanted("H100-80GB", "A100-80GB")
    again = wanted("A100-80GB", usd=9.0, request=training(tokens=5e12, deadline_days=3.0))
    assert [row.pk for row in again] == [first[1].pk]
    assert PlanSearch.objects.count() == 2
    wanted("A100-80GB", request=training(global_batch=128))
    assert PlanSearch.objects.count() == 3


@pytest.mark.parametrize("figure", sorted(FIGURES))
def test_a_chips_figures_ask_for_a_new_search_only_where_one_reads_them(figure):
    own = {"chip": "H100-80GB", "figure": figure, "value": "7", "year": "2026"}
    own |= {"quality": "measured", "source": "here"}
    [offer] = offers("H100-80GB")
    chip = overlaid(catalogue(), [], [own])["H100-80GB"]
    asked = [search_work.sizes(training(), one) for one in (offer, replace(offer, chip=chip))]
    unread = {"mtbf_h", "tdp_w", "price_usd_per_hour", "purchase_usd"}
    assert (search_work.key(asked[0]) == search_work.key(asked[1])) == (figure in unread)


def test_another_planner_asks_for_all_searches_anew(monkeypatch):
    [row] = wanted("H100-80GB")
    monkeypatch.setattr(search_work, "planner", lambda: "of the next release")
    assert [row] != wanted("H100-80GB")


def test_one_search_is_done_at_a_time_and_a_lost_one_is_done_again():
    wanted("H100-80GB", "A100-80GB")
    [lost] = PlanSearch.objects.claim_due(
        now=Now() + services.PATIENCE, lease=services.LEASE, limit=1
    )
    assert work() == 0, "another is being done"
    PlanSearch.objects.filter(pk=lost.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert work() == 2


def test_the_ticker_leaves_a_fresh_search_to_the_workers():
    wanted("H100-80GB")
    tasks.search()
    assert PlanSearch.objects.get().found is None
    tasks.search(0)
    assert PlanSearch.objects.get().found is not None


def test_a_search_that_ends_its_worker_again_and_again_is_given_up(caplog):
    [row] = wanted("H100-80GB")
    PlanSearch.objects.update(tries=services.MOST_TRIES)
    work()
    row.refresh_from_db()
    assert "ended its worker 3 times" in search_work.found(row.found).miss
    assert caplog.records[0].action == "search_given_up"


def test_a_search_that_raises_says_so_and_holds_up_no_other(caplog):
    [bad], [good] = wanted("H100-80GB"), wanted("A100-80GB")
    bad.asked["figures"]["memory_GBps"] = 1e-200  # before figures had a least value
    bad.save()
    assert work() == 2
    bad.refresh_from_db()
    good.refresh_from_db()
    assert "met an error" in search_work.found(bad.found).miss
    assert search_work.found(good.found).best
    assert caplog.records[0].action == "search_failed"
    assert not PlanSearch.objects.exclude(lease_until=None).exists()
    PlanSearch.objects.update(made_at=timezone.now() - timedelta(days=2))
    services.prune(now=Now())
    assert list(PlanSearch.objects.all()) == [good], "a failure is forgotten sooner"


def test_no_more_may_wait_than_can_be_done_and_nobody_begins_too_many(monkeypatch):
    monkeypatch.setattr(services, "MOST_WAITING", 1)
    wanted("H100-80GB")
    with pytest.raises(Refused, match="try again in a minute") as caught:
        wanted("A100-80GB")
    assert (caught.value.status, PlanSearch.objects.count()) == (503, 1)
    work()
    monkeypatch.setitem(settings.RATE_LIMITS_PER_MIN, "plan", 1)
    ask(offers("A100-80GB"), actor="user:eager")
    with pytest.raises(Refused) as caught:
        ask(offers("L40S"), actor="user:eager")
    assert caught.value.status == 429


def test_a_search_that_is_forgotten_while_others_are_begun_is_still_answered(monkeypatch):
    [old] = wanted("H100-80GB")
    PlanSearch.objects.update(made_at=timezone.now() - timedelta(days=31))
    monkeypatch.setattr(services, "nudge", lambda *_about: services.prune(now=Now()))
    rows = wanted("H100-80GB", "A100-80GB")
    assert [row.asked["chip"] for row in rows] == ["H100-80GB", "A100-80GB"]
    assert rows[0].key == old.key


def test_old_searches_are_forgotten():
    [row] = wanted("H100-80GB")
    services.prune(now=Now())
    assert PlanSearch.objects.exists()
    PlanSearch.objects.filter(pk=row.pk).update(made_at=timezone.now() - timedelta(days=31))
    services.prune(now=Now())
    assert not PlanSearch.objects.exists()
