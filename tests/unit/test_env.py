"""Settings from the environment: what would be nonsense is refused by its name."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from apps.config import env


@pytest.mark.parametrize("raw", ["inf", "-inf", "1e999", "nan", "-1", "many", ""])
def test_a_number_that_is_none_is_refused_with_its_name(monkeypatch, raw):
    monkeypatch.setenv("REGATTA_DB_POOL", raw)
    with pytest.raises(ImproperlyConfigured, match=r"REGATTA_DB_POOL=.* must be a finite number"):
        env.number("REGATTA_DB_POOL", 0)


def test_a_number_is_taken_from_the_environment_or_is_the_usual_one(monkeypatch):
    monkeypatch.setenv("REGATTA_DB_POOL", "8")
    assert env.number("REGATTA_DB_POOL", 0) == 8
    monkeypatch.delenv("REGATTA_DB_POOL")
    assert env.number("REGATTA_DB_POOL", 3) == 3
