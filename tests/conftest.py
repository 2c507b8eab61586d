"""What all tests share: a throw-away PostgreSQL, started when the first test asks for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections
from hypothesis import settings as hypothesis_settings

from apps.config import env
from regatta.embedded import postgres

sys.path.append(str(Path(__file__).parent / "factories"))  # `from people import a_team`
hypothesis_settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
hypothesis_settings.load_profile("untimed")


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> Iterator[None]:
    """Point Django at a server of this run's own; its data goes with the run."""
    with postgres.throwaway() as url:
        connections["default"].settings_dict.update(env.database(url))
        yield
        connections.close_all()


@pytest.fixture(autouse=True, scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of this run's own, so that tests never touch a portal's keys or data."""
    from django.conf import settings  # noqa: PLC0415  (settings load after pytest-django)

    from apps.config.management.commands.translate import compile_into  # noqa: PLC0415

    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setattr(settings, "REGATTA_HOME", home)
        patch.setattr(settings, "LOCALE_PATHS", [home / "locale"])
        compile_into(home / "locale")  # as the portal does at its start
        yield home
