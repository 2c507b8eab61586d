"""What is taken as a document: of bounded depth and size, its flaws named by where they are."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from apps.http.documents import DEEPEST, MOST_PARTS, read_json
from apps.http.problems import Refused


def refusal(text):
    with pytest.raises(Refused) as told:
        read_json(text.encode())
    return told.value.code, told.value.pointer


@pytest.mark.parametrize(
    ("text", "code", "pointer"),
    [
        ('{"a": [1, {"b": "x\\u0000"}]}', "bad_text", "/a/1/b"),
        ('{"a": {"b\\u0000": 1}}', "bad_text", "/a"),
        ('{"a": [0, [2, 1e999]], "b": 1}', "bad_number", "/a/1/1"),
        ('["\\ud800"]', "bad_text", "/0"),
        ("nothing", "invalid_json", ""),
    ],
)
def test_a_flaw_is_named_with_its_place(text, code, pointer):
    assert refusal(text) == (code, pointer)


def test_a_sound_document_is_read_as_it_is():
    given = {"a": [1, 2.5, None, {"b": ["c", {}, []]}], "d": {"e": {"f": True}}, "": "ü"}
    assert read_json(json.dumps(given).encode()) == given


def test_levels_are_counted():
    assert read_json(b"[" * DEEPEST + b"1" + b"]" * DEEPEST)
    assert refusal("[" * (DEEPEST + 1) + "1" + "]" * (DEEPEST + 1))[0] == "too_deep"


def test_parts_are_counted():
    assert len(read_json(f"[{','.join('1' * (MOST_PARTS - 1))}]".encode())) == MOST_PARTS - 1
    assert refusal(f"[{','.join('1' * (MOST_PARTS + 1))}]")[0] == "too_many_parts"


@pytest.mark.parametrize("part", ["[],", "{},", '"",', '"\\\\",', '"\\"",', "0,"])
def test_too_many_parts_are_refused_before_they_are_made(part):
    body = f"[{part * ((4 << 20) // len(part))}0]".encode()
    tracemalloc.start()
    with pytest.raises(Refused, match="at most"):
        read_json(body)
    _now, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 6 * len(body)


def test_marks_within_texts_are_no_parts():
    given = {"script": 'print("[,:{\\")\n' * 100_000, "n": [1, {"a": "\\"}]}
    assert read_json(json.dumps(given).encode()) == given
    fullest = [{}] * (MOST_PARTS - 1)
    assert read_json(json.dumps(fullest).encode()) == fullest


def test_long_names_above_a_long_list_cost_no_memory_for_each_of_its_parts():
    names = ('{"' + "a" * 80 + '":') * 60
    body = (names + "[" + ",".join("1" * 50_000) + "]" + "}" * 60).encode()
    tracemalloc.start()
    read_json(body)
    _now, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 20 * len(body)
