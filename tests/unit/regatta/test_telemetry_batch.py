"""A batch of metrics, from the job to the portal."""

from __future__ import annotations

import json
import math
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regatta.telemetry.batch import MOST_KEYS, MOST_POINTS, Malformed, decode, encode

STREAM = "00000000-0000-0000-0000-000000000007"
GOOD = {"stream": STREAM, "seq": 1, "keys": ["loss"], "points": [[0, 1, 2.5, 1.0]]}

points = st.lists(
    st.tuples(
        st.sampled_from(["loss", "train/loss", "a.b"]),
        st.integers(0, 2**63 - 1),
        st.floats(allow_nan=False),
        st.integers(0, 4_000_000_000).map(float),
    ),
    min_size=1,
    max_size=50,
)


@given(points)
def test_what_was_written_is_what_is_read(points):
    batch = decode(encode(points, stream=STREAM, seq=3, rank=1, dropped=2))
    assert (batch.stream, batch.seq, batch.rank, batch.dropped) == (UUID(STREAM), 3, 1, 2)
    assert [(batch.keys[key], *rest) for key, *rest in batch.rows] == points


def test_a_value_that_is_no_number_travels_too():
    batch = decode(encode([("loss", 1, math.nan, 0.0)], stream=STREAM, seq=1, rank=0, dropped=0))
    assert math.isnan(batch.rows[0][2])


MALFORMED = [
    ({"stream": "x"}, "/stream"),
    ({"stream": None}, "/stream"),
    ({"seq": 0}, "/seq"),
    ({"seq": True}, "/seq"),
    ({"seq": 1.0}, "/seq"),
    ({"seq": 2**63}, "/seq"),
    ({"rank": -1}, "/rank"),
    ({"dropped": "1"}, "/dropped"),
    ({"keys": []}, "/keys"),
    ({"keys": "loss"}, "/keys"),
    ({"keys": ["loss", "loss"]}, "/keys"),
    ({"keys": ["loss", "a b"]}, "/keys/1"),
    ({"keys": ["x" * 81]}, "/keys/0"),
    ({"keys": [f"k{i}" for i in range(MOST_KEYS + 1)]}, "/keys"),
    ({"points": []}, "/points"),
    ({"points": {}}, "/points"),
    ({"points": [[0, 1, 2.5, 1.0]] * (MOST_POINTS + 1)}, "/points"),
    ({"points": [[0, 1, 2.5, 1.0], [1, 1, 2.5, 1.0]]}, "/points/1"),
    ({"points": [[-1, 1, 2.5, 1.0]]}, "/points/0"),
    ({"points": [[0, -1, 2.5, 1.0]]}, "/points/0"),
    ({"points": [[0, 2**63, 2.5, 1.0]]}, "/points/0"),
    ({"points": [[0, 1.5, 2.5, 1.0]]}, "/points/0"),
    ({"points": [[0, True, 2.5, 1.0]]}, "/points/0"),
    ({"points": [[0, 1, None, 1.0]]}, "/points/0"),
    ({"points": [[0, 1, "nan", 1.0]]}, "/points/0"),
    ({"points": [[0, 1, 10**400, 1.0]]}, "/points/0"),
    ({"points": [[0, 1, 2.5, -1.0]]}, "/points/0"),
    ({"points": [[0, 1, 2.5, 1e12]]}, "/points/0"),
    ({"points": [[0, 1, 2.5]]}, "/points/0"),
    ({"points": ["0"]}, "/points/0"),
    ({"extra": 1}, "/extra"),
]


@pytest.mark.parametrize(("change", "pointer"), MALFORMED)
def test_what_is_malformed_is_refused_with_its_place(change, pointer):
    decode(json.dumps(GOOD).encode())
    with pytest.raises(Malformed) as refused:
        decode(json.dumps(GOOD | change).encode())
    assert refused.value.pointer == pointer


@pytest.mark.parametrize("name", ["stream", "seq", "keys", "points"])
def test_a_field_that_is_missing_is_named(name):
    with pytest.raises(Malformed) as refused:
        decode(json.dumps({key: value for key, value in GOOD.items() if key != name}).encode())
    assert refused.value.pointer == f"/{name}"


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"1", b'{"seq": NaN}', b"[" * 100_000, b'{"seq": 1'[:-1]]
)
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(Malformed):
        decode(body)
