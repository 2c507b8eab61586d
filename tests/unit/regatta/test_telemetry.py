"""The metrics of a job's process: in order, once, within bounds, and never lost in silence."""

from __future__ import annotations

import json
import math
from uuid import UUID

import pytest

from regatta.telemetry.batch import BATCH_POINTS
from regatta.telemetry.outbox import Outbox, Packed
from regatta.telemetry.portal import Away, Portal, Refused
from regatta.telemetry.stream import WAITING_POINTS, Stream

NAME = UUID("00000000-0000-0000-0000-000000000007")


class PortalInMemory:
    """Takes batches, or fails as `trouble` says."""

    def __init__(self):
        self.batches = []
        self.trouble = None

    def send(self, body):
        if self.trouble:
            raise self.trouble
        self.batches.append(json.loads(body))

    @property
    def points(self):
        return [
            (batch["keys"][key], step, value)
            for batch in self.batches
            for key, step, value, _ in batch["points"]
        ]


@pytest.fixture
def portal():
    return PortalInMemory()


@pytest.fixture
def stream(portal, tmp_path):
    outbox = Outbox(spill=tmp_path / "spill", in_memory=2)
    return Stream(name=NAME, rank=3, portal=portal, outbox=outbox, clock=lambda: 1.5)


def test_a_report_arrives_as_one_batch_with_its_keys_named_once(stream, portal):
    stream.note(step=1, values={"loss": 4.5, "tokens_per_s": 10})
    stream.note(step=2, values={"loss": 4.25})
    assert stream.deliver(now_s=0.0)
    assert portal.batches == [
        {
            "stream": str(NAME),
            "seq": 1,
            "rank": 3,
            "dropped": 0,
            "keys": ["loss", "tokens_per_s"],
            "points": [[0, 1, 4.5, 1.5], [1, 1, 10.0, 1.5], [0, 2, 4.25, 1.5]],
        }
    ]


def test_values_that_are_not_finite_arrive_as_words(stream, portal):
    stream.note(step=1, values={"a": math.nan, "b": math.inf, "c": -math.inf})
    stream.deliver(now_s=0.0)
    assert [value for _, _, value in portal.points] == ["NaN", "Infinity", "-Infinity"]


def test_the_number_of_steps_is_told_when_it_changes(stream, portal):
    for step, total in [(1, 300), (2, 300), (3, 400)]:
        stream.note(step=step, values={"total_steps": total})
    stream.deliver(now_s=0.0)
    assert portal.points == [("total_steps", 1, 300.0), ("total_steps", 3, 400.0)]


@pytest.mark.parametrize("name", ["", "1st", "a b", "a" * 81, "loss\n"])
def test_an_unfit_name_is_refused_where_it_is_used(stream, portal, name):
    with pytest.raises(ValueError, match="name of a metric"):
        stream.note(step=1, values={name: 1.0})
    assert stream.deliver(now_s=0.0)
    assert portal.batches == []


def test_a_value_that_is_no_number_is_refused_where_it_is_used(stream):
    with pytest.raises(TypeError):
        stream.note(step=1, values={"loss": None})


def test_a_full_batch_says_so_and_no_batch_is_larger(stream, portal):
    full = [stream.note(step=step, values={"loss": 1.0}) for step in range(BATCH_POINTS)]
    assert (full.count(True), full[-1]) == (1, True)
    stream.note(step=BATCH_POINTS, values={"loss": 1.0})
    stream.deliver(now_s=0.0)
    assert [len(batch["points"]) for batch in portal.batches] == [BATCH_POINTS, 1]


def test_what_was_measured_while_the_portal_was_away_arrives_in_order(stream, portal, tmp_path):
    portal.trouble = Away("gone")
    for turn in range(9):  # more batches than the memory holds
        stream.note(step=turn, values={"loss": turn})
        assert not stream.deliver(now_s=100.0 * turn)
    assert (tmp_path / "spill").exists()
    portal.trouble = None
    assert stream.deliver(now_s=1000.0)
    assert [batch["seq"] for batch in portal.batches] == list(range(1, 10))
    assert [step for _, step, _ in portal.points] == list(range(9))
    assert not (tmp_path / "spill").exists()


def test_a_batch_that_may_have_arrived_is_sent_again_under_its_number(stream, portal):
    stream.note(step=1, values={"loss": 1.0})
    portal.trouble = Away("no answer")
    stream.deliver(now_s=0.0)
    portal.trouble = None
    stream.note(step=2, values={"loss": 1.0})
    stream.deliver(now_s=10.0)
    assert [(batch["seq"], len(batch["points"])) for batch in portal.batches] == [(1, 1), (2, 1)]


def test_pauses_grow_while_the_portal_is_away_and_end_with_it(stream, portal):
    stream.note(step=1, values={"loss": 1.0})
    portal.trouble = Away("gone")
    stream.deliver(now_s=0.0)
    stream.deliver(now_s=0.5)
    portal.trouble = None
    assert not stream.deliver(now_s=1.4)
    assert portal.batches == []
    assert stream.deliver(now_s=1.5)
    stream.note(step=2, values={"loss": 1.0})
    assert stream.deliver(now_s=1.6)


def test_the_last_flush_does_not_wait_for_the_pause(stream, portal):
    stream.note(step=1, values={"loss": 1.0})
    portal.trouble = Away("gone")
    stream.deliver(now_s=0.0)
    portal.trouble = None
    assert stream.deliver(now_s=None)
    assert len(portal.batches) == 1


def test_a_refused_batch_is_counted_and_the_next_one_tells(stream, portal):
    stream.note(step=1, values={"loss": 1.0, "other": 1.0})
    portal.trouble = Refused("422 malformed", for_good=False)
    stream.deliver(now_s=0.0)
    portal.trouble = None
    stream.note(step=2, values={"loss": 1.0})
    stream.deliver(now_s=1.0)
    assert stream.dropped == 2
    assert [(batch["seq"], batch["dropped"]) for batch in portal.batches] == [(2, 2)]


def test_an_attempt_without_the_right_stops_asking_and_counts(stream, portal):
    stream.note(step=1, values={"loss": 1.0})
    portal.trouble = Refused("403 ended", for_good=True)
    assert stream.deliver(now_s=0.0)
    portal.trouble = None
    stream.note(step=2, values={"loss": 1.0})
    assert stream.deliver(now_s=10.0)
    assert (portal.batches, stream.dropped) == ([], 2)


def test_the_oldest_points_go_first_when_there_are_too_many_at_once(stream, portal):
    for step in range(WAITING_POINTS + 5):
        stream.note(step=step, values={"loss": 1.0})
    stream.deliver(now_s=0.0)
    assert stream.dropped == 5
    assert portal.points[0][1] == 5
    assert len(portal.points) == WAITING_POINTS
    assert portal.batches[0]["dropped"] == 5


def test_what_finds_no_room_in_the_file_is_counted(portal, tmp_path):
    outbox = Outbox(spill=tmp_path / "spill", in_memory=1, file_bytes=0)
    stream = Stream(name=NAME, rank=0, portal=portal, outbox=outbox)
    portal.trouble = Away("gone")
    for step in range(3):
        stream.note(step=step, values={"loss": 1.0})
        stream.deliver(now_s=None)
    assert stream.dropped == 2
    assert stream.abandon() == 1


def test_an_outbox_gives_back_what_it_took_in_that_order_and_forgets_its_file(tmp_path):
    outbox = Outbox(spill=tmp_path / "spill", in_memory=2)
    given = [Packed(points=number, body=b"%d" % number) for number in range(7)]
    assert all(outbox.put(batch) for batch in given)
    assert len(outbox) == 7
    taken = []
    while outbox.first():
        taken.append(outbox.pop())
    assert taken == given
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_is_no_room(tmp_path):
    outbox = Outbox(spill=tmp_path / "missing" / "spill", in_memory=1)
    assert outbox.put(Packed(1, b"{}"))
    assert not outbox.put(Packed(1, b"{}"))


@pytest.mark.parametrize("url", ["", "portal:8000", "ftp://portal", "http://"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="REGATTA_URL must be"):
        Portal(url=url, token="t")
