"""A log record is one line, whatever stands in it."""

from __future__ import annotations

import logging

import pytest

from apps.http.log_lines import Formatter


@pytest.mark.parametrize("hostile", ["a\nb", "a\x1b[31mb", "a\u202eb", "a\rb"])
def test_control_characters_cannot_forge_a_line(hostile):
    record = logging.LogRecord("x", logging.INFO, "f", 1, "name=%s", (hostile,), None)
    line = Formatter().format(record)
    assert line.isprintable()
    assert line.startswith("INFO x name=a\\")


def test_extras_are_shown_as_words():
    record = logging.LogRecord("x", logging.INFO, "f", 1, "placed", (), None)
    record.action, record.job = "job_placed", 7
    assert Formatter().format(record) == "INFO x action=job_placed job=7 placed"
