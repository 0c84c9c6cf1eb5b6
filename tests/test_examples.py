"""The examples in docstrings say what is true."""

import doctest
import importlib
from pathlib import Path

import pytest

import medloom

ROOT = Path(medloom.__file__).parent
MODULES = [
    ".".join(("medloom", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
