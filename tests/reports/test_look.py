"""Every page has the one look, and says where its figures come from: read from the templates."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

TEMPLATES = {one.name: one.read_text() for one in (files("medloom.reports") / "templates").iterdir()}
PAGES = {
    name: text
    for name, text in TEMPLATES.items()
    if name.endswith(".html") and name not in ("base.html", "macros.html")
}
PARTS = {name for text in PAGES.values() for name in re.findall(r"include \"(\w+\.html)\"", text)}
PARTS |= {"labels.html", "masks.html", "masks_cases.html"}  # named by the kind of answer


@pytest.mark.parametrize("name", PAGES)
def test_a_template_has_no_style_script_or_address_of_its_own(name):
    assert not re.findall(r"<style|<script|<link|<svg|://|@import|style=\"(?!width)", PAGES[name])


@pytest.mark.parametrize("name", PAGES)
def test_a_template_is_a_page_of_the_one_base_or_a_part_of_such(name):
    assert ('extends "base.html"' in PAGES[name]) != (name in PARTS)


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if re.search(r"ui\.(chart|metrics)\(", text)])
def test_where_there_are_charts_there_is_a_word_on_where_they_come_from(name):
    assert "ui.source(" in PAGES[name]
