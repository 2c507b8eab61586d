"""Static files of installed packages: Plotly's script, of the version that makes the figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.core.checks import CheckMessage, Error
from django.core.files.storage import FileSystemStorage, Storage

NAME = "plotly.min.js"


class PlotlyFinder(BaseFinder):
    """Finds `plotly/plotly.min.js` in the plotly wheel."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        spec = find_spec("plotly")
        places = list(spec.submodule_search_locations or []) if spec else []
        self.folder = Path(*places[:1]) / "package_data"
        self.storage = FileSystemStorage(location=str(self.folder))
        self.storage.prefix = "plotly"  # type: ignore[attr-defined]  # as collectstatic reads it

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        if (self.folder / NAME).is_file():
            return []
        return [Error(f"{NAME} is not in {self.folder}", hint="Install plotly.", id="web.E001")]

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        found = [str(self.folder / NAME)] if path == f"plotly/{NAME}" else []
        return found if find_all or not found else found[0]

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, Storage]]:
        yield NAME, self.storage
