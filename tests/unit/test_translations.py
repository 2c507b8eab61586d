"""The Chinese catalogue: nothing is missing, nothing is lost in it, and it reads as Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from babel.messages.pofile import read_po
from django.utils import translation

from apps.config.management.commands.translate import catalogue_path, gaps

HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:?!]|[,;:?!][\u4e00-\u9fff]")
UNSPACED = re.compile(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]")
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%s")
TAG = re.compile(r"</?\w+>")


def pairs() -> Iterator[tuple[str, str]]:
    """Each string of the sources with its translation; of a plural, the form for many."""
    with catalogue_path().open("rb") as file:
        for message in read_po(file, locale="zh_Hans"):
            if not message.id:
                continue
            if isinstance(message.id, str):
                yield message.id, message.string
            else:
                yield message.id[-1], *message.string


def test_no_string_is_without_a_translation():
    assert gaps() == []


@pytest.mark.parametrize("part", [PLACEHOLDER, TAG], ids=["placeholders", "tags"])
def test_a_translation_keeps_what_is_filled_in_and_marked_up(part):
    wrong = [
        (source, words)
        for source, words in pairs()
        if sorted(part.findall(source)) != sorted(part.findall(words))
    ]
    assert wrong == []


@pytest.mark.parametrize("fault", [HALF_WIDTH, UNSPACED], ids=["half-width", "unspaced"])
def test_chinese_has_full_width_marks_and_space_beside_latin(fault):
    assert [words for _source, words in pairs() if fault.search(words)] == []


def test_there_is_one_form_for_any_count():
    with catalogue_path().open("rb") as file:
        catalogue = read_po(file)
    assert (str(catalogue.locale), catalogue.num_plurals) == ("zh_Hans", 1)


def test_django_finds_what_the_portal_compiles():
    with translation.override("zh-hans"):
        assert translation.gettext("Clusters") == "集群"
        assert translation.ngettext("%(n)s worker", "%(n)s workers", 3) == "%(n)s 个工作节点"
