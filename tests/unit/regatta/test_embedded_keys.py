"""Secrets in files: made once, for their owner alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from regatta.embedded.keys import kept_secret


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path):
    path = tmp_path / "home" / "key"
    assert kept_secret(path) == kept_secret(path, lambda: "another")
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


@pytest.mark.parametrize(("before", "after"), [(0o755, 0o711), (0o777, 0o711), (0o700, 0o700)])
def test_a_folder_that_was_there_is_closed_but_for_the_way_through(
    tmp_path: Path, before: int, after: int
):
    home = tmp_path / "home"
    home.mkdir()
    (home / "key").write_text("x")
    home.chmod(before)
    assert kept_secret(home / "key") == "x"
    assert mode(home) == after
