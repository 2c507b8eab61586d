"""What the style sheets, templates and scripts promise, read from their text."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "frontend"
CSS = ROOT / "static" / "css"
SHEETS = sorted(path for path in CSS.rglob("*.css") if path.name != "tokens.css")
SCRIPTS = sorted((ROOT / "static" / "js").rglob("*.js"))
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
RAW_COLOUR = re.compile(
    r"#[0-9a-fA-F]{3,8}\b|\b(?:rgb|rgba|hsl|hsla|hwb|lab|lch|oklab|oklch)\(|"
    r":\s*(?:white|black|red|green|blue|gr[ae]y|orange|yellow|purple)\b"
)
RAW_SIZE = re.compile(r"(?<![\w.#-])\d*\.?\d+(?:px|rem|ms|s)\b")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rules(sheet: Path) -> str:
    """A sheet without comments and without the conditions of media queries."""
    text = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.S)
    return re.sub(r"@(?:media|container)[^{]*", "", text)


@pytest.mark.parametrize("sheet", SHEETS, ids=name)
def test_only_the_tokens_hold_raw_colours(sheet):
    assert RAW_COLOUR.findall(rules(sheet)) == []


@pytest.mark.parametrize("sheet", SHEETS, ids=name)
def test_only_the_tokens_hold_raw_sizes_and_times(sheet):
    assert RAW_SIZE.findall(rules(sheet)) == []


def test_every_component_is_imported_and_every_import_is_there():
    imported = set(re.findall(r'@import url\("([^"]+)"\)', (CSS / "main.css").read_text()))
    apart = {"main.css", "plotly.css", "admin.css", "api-docs.css"}  # links of their own
    there = {str(path.relative_to(CSS)) for path in CSS.rglob("*.css")} - apart
    assert imported == there


def test_every_token_in_use_is_defined():
    tokens = (CSS / "tokens.css").read_text()
    used = {
        token
        for path in [*SHEETS, CSS / "tokens.css"]
        for token in re.findall(r"var\((--[\w-]+)", path.read_text())
    }
    own = {"--tone", "--tone-soft", "--fill", "--fill-hover", "--edge", "--heat", "--ink"}
    assert {token for token in used - own if f"{token}:" not in tokens} == set()


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_no_template_holds_what_a_strict_policy_forbids(template):
    text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", "", template.read_text(), flags=re.S)
    assert re.findall(r"\son[a-z]+=|\sstyle=|<style|javascript:", text) == []
    assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_every_behaviour_that_a_template_names_is_there(template):
    for names in re.findall(r'data-behaviour="([^"{]+)"', template.read_text()):
        for one in names.split():
            assert (ROOT / "static" / "js" / "behaviours" / f"{one}.js").is_file()


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_polling_and_loading_stand_beside_a_way_without_scripts(template):
    """A form or a link that htmx takes over has an address or an action of its own."""
    tags = re.findall(r"<(?:a|form)\b(?:\{%.*?%\}|\{\{.*?\}\}|[^>])*>", template.read_text())
    for tag in tags:
        if "hx-get=" in tag or "hx-post=" in tag:
            assert "href=" in tag or "method=" in tag


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_scripts_never_make_markup_of_text(script):
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(", script.read_text()) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_modules_import_only_what_stands_beside_them(script):
    for found in re.findall(r'(?:from|import\()\s*"([^"]+)"', script.read_text()):
        assert (script.parent / found).is_file()


@pytest.mark.parametrize("path", [*SHEETS, *SCRIPTS], ids=name)
def test_every_style_sheet_and_script_says_first_what_it_is_for(path):
    assert path.read_text().startswith(("/* ", "// "))


def test_the_installed_plotly_knows_what_keeps_its_styles_out_of_the_page():
    folder = find_spec("plotly").submodule_search_locations[0]
    plotly = (Path(folder) / "package_data" / "plotly.min.js").read_text()
    guard = re.search(r'MAP_STYLES = "(\w+)"', (ROOT / "static/js/charts/plot.js").read_text())[1]
    assert f'document.getElementById("{guard}")' in plotly
    assert ".no-inline-styles" in plotly
