"""Where Regatta keeps its state, and where its embedded servers listen."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from urllib.parse import quote

_SOURCES = Path(__file__).resolve().parents[3]


class ForeignFolder(Exception):
    """The run folder belongs to somebody else, or others may enter it."""


def project_root() -> Path:
    """The folder of `manage.py`; the present one where Regatta was installed without it."""
    return _SOURCES if (_SOURCES / "manage.py").exists() else Path.cwd()


def home() -> Path:
    """`$REGATTA_HOME`, or `.regatta` beside `manage.py`."""
    given = os.environ.get("REGATTA_HOME")
    return Path(given).expanduser().absolute() if given else project_root() / ".regatta"


def run_dir(home: Path) -> Path:
    """The folder of the sockets of `home`: short, since a socket's path is limited to 107 bytes.

    Not under `$XDG_RUNTIME_DIR`: every shell must come to the same answer, and that folder goes
    with its user's last session.
    Raises: ForeignFolder when somebody else was there first.
    """
    mark = hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:8]
    path = Path("/tmp") / f"regatta-{os.getuid()}-{mark}"
    if os.path.lexists(path):
        _refuse_foreign(path)
    return path


def make_run_dir(home: Path) -> Path:
    """`run_dir(home)`, there and closed to others."""
    path = run_dir(home)
    path.mkdir(mode=0o700, exist_ok=True)
    _refuse_foreign(path)
    return path


def postgres_dir(home: Path) -> Path:
    """The folder of PostgreSQL's socket, apart since another user may have to own it."""
    return run_dir(home) / "pg"


def database_url(home: Path) -> str:
    """The embedded PostgreSQL of `home`."""
    # The port, a part of the socket's name, is given lest $PGPORT change it.
    return f"postgresql://regatta@/regatta?host={quote(str(postgres_dir(home)))}&port=5432"


def broker_url(home: Path) -> str:
    """The embedded broker of `home`."""
    return f"redis+socket://{quote(str(run_dir(home)))}/broker.sock"


def _refuse_foreign(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ForeignFolder(f"{path} is not a folder of user {os.getuid()}; remove or rename it")
    if found.st_mode & 0o066:
        raise ForeignFolder(f"{path} is open to others; run: chmod 700 {path}")
