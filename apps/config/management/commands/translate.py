"""Keep the Chinese catalogue in step with the strings of code and templates."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation.template import templatize

_KEYWORDS = {
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "_": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
_SOURCES = {"apps": "*.py", "frontend/templates": "*.html"}


class Command(BaseCommand):
    help = "Collect strings into the catalogue and compile it, or (--check) tell what is missing."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; fail on gaps")
        parser.add_argument("--compile", action="store_true", help="only write the .mo file")

    def handle(self, *args: Any, **options: Any) -> None:
        path = catalogue_path()
        if options["check"]:
            if missing := gaps():
                raise CommandError("not translated:\n" + "\n".join(missing))
            return
        if not options["compile"]:
            kept = _read(path)
            kept.update(_collected(), no_fuzzy_matching=True, update_creation_date=False)
            kept.obsolete.clear()
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                write_po(file, kept, sort_output=True, no_location=True, width=99)
            self.stdout.write(f"{path}: {len(kept)} strings, {len(gaps())} without a translation")
        compile_into(settings.LOCALE_PATHS[0])


def compile_into(folder: Path) -> None:
    """Write what Django reads, whole or not at all: other processes may look at it meanwhile."""
    target = folder / "zh_Hans" / "LC_MESSAGES" / "django.mo"
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"django.{os.getpid()}")
    with fresh.open("wb") as file:
        write_mo(file, _read(catalogue_path()))
    fresh.replace(target)


def catalogue_path() -> Path:
    """Where the Chinese catalogue stands."""
    return settings.BASE_DIR / "frontend/locale/zh_Hans/LC_MESSAGES/django.po"


def gaps() -> list[str]:
    """Strings of the sources that the catalogue lacks, leaves empty, or holds as fuzzy."""
    kept = _read(catalogue_path())
    return [
        str(wanted.id)
        for wanted in _collected()
        if wanted.id and not _good(kept.get(wanted.id, wanted.context))
    ]


def _good(found: Message | None) -> bool:
    if found is None or found.fuzzy:
        return False
    return all(found.string) if isinstance(found.string, (tuple, list)) else bool(found.string)


def _read(path: Path) -> Catalog:
    if not path.exists():
        return Catalog(locale="zh_Hans", charset="utf-8")
    with path.open("rb") as file:
        return read_po(file, locale="zh_Hans")


def _collected() -> Catalog:
    catalog = Catalog(locale="zh_Hans", charset="utf-8")
    for path in _source_files():
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".html":
            text = templatize(text, origin=str(path))
        found = extract("python", io.BytesIO(text.encode()), keywords=_KEYWORDS)
        for _line, message, _comments, context in found:
            catalog.add(message, context=context)
    return catalog


def _source_files() -> Iterator[Path]:
    for folder, pattern in _SOURCES.items():
        yield from sorted((settings.BASE_DIR / folder).rglob(pattern))
