"""Where things stand, and whose folders are believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from regatta.embedded import paths


@pytest.fixture
def a_home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def its_run_dir(a_home: Path):
    folder = paths.run_dir(a_home)
    yield folder
    if folder.is_dir() and not folder.is_symlink():
        folder.rmdir()
    else:
        folder.unlink(missing_ok=True)


def test_the_home_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("REGATTA_HOME", str(tmp_path / "a b"))
    assert paths.home() == tmp_path / "a b"


def test_the_home_is_beside_manage_py_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("REGATTA_HOME", raising=False)
    assert paths.home() == paths.project_root() / ".regatta"
    assert (paths.project_root() / "manage.py").is_file()


def test_the_address_of_the_sockets_does_not_depend_on_the_session(
    monkeypatch: pytest.MonkeyPatch, a_home: Path
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    one = paths.run_dir(a_home)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert paths.run_dir(a_home) == one


def test_two_homes_have_two_run_folders(tmp_path: Path):
    assert paths.run_dir(tmp_path / "a") != paths.run_dir(tmp_path / "b")


def test_a_socket_path_fits_however_deep_the_home_lies(tmp_path: Path):
    deep = tmp_path.joinpath(*["a long name of a folder"] * 20)
    assert len(str(paths.postgres_dir(deep) / ".s.PGSQL.5432.lock")) < 104


def test_the_urls_name_the_run_folder(a_home: Path):
    run = paths.run_dir(a_home)
    assert paths.database_url(a_home) == f"postgresql://regatta@/regatta?host={run}/pg&port=5432"
    assert paths.broker_url(a_home) == f"redis+socket://{run}/broker.sock"


def test_the_run_folder_is_made_closed(a_home: Path, its_run_dir: Path):
    assert paths.make_run_dir(a_home) == its_run_dir
    assert its_run_dir.stat().st_mode & 0o777 == 0o700


def test_a_run_folder_that_others_may_read_is_refused(a_home: Path, its_run_dir: Path):
    its_run_dir.mkdir()
    its_run_dir.chmod(0o755)
    with pytest.raises(paths.ForeignFolder, match="chmod 700"):
        paths.run_dir(a_home)


def test_a_link_in_the_place_of_the_run_folder_is_refused(
    a_home: Path, its_run_dir: Path, tmp_path: Path
):
    its_run_dir.symlink_to(tmp_path)
    with pytest.raises(paths.ForeignFolder, match="is not a folder of user"):
        paths.run_dir(a_home)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_run_folder_of_somebody_else_is_refused(a_home: Path, its_run_dir: Path):
    its_run_dir.mkdir(mode=0o700)
    os.chown(its_run_dir, 65534, 65534)
    with pytest.raises(paths.ForeignFolder, match="remove or rename it"):
        paths.make_run_dir(a_home)
