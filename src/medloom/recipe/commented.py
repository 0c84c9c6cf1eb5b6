"""A built-in recipe written out in full: every key, what it means and what it may be."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from medloom.recipe.library import builtin_text
from medloom.recipe.loading import kind_of
from medloom.recipe.reference import describe, tree, yaml_text

__all__ = ["commented"]

_WIDTH = 110

_HOW = """#
# Lines that begin with `# key:` show a default; remove the `# ` and change the value to set it.
# Any value can also be set on the command line: --set train.epochs=5
"""


def commented(name: str) -> str:
    """Return a built-in recipe with every key explained and the untouched defaults commented out.

    Args:
        name: Name of the recipe.

    Returns:
        YAML text that means the same as the built-in recipe.

    Raises:
        RecipeError: If there is no recipe of that name.
    """
    text = builtin_text(name)
    header = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    values = yaml.safe_load(text)
    return "\n".join([*header, _HOW, *_group(tree(kind_of(values)), values, "")]) + "\n"


def _group(node: Mapping[str, Any], values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, child in node["properties"].items():
        if "properties" in child:
            yield ""
            yield from _comment(child.get("description", ""), indent)
            yield f"{indent}{key}:"
            yield from _group(child, values.get(key) or {}, f"{indent}  ")
        else:
            yield from _comment(_explanation(child), indent)
            yield _assignment(key, child, values, indent)


def _comment(text: str, indent: str) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent=prefix, subsequent_indent=prefix)


def _explanation(node: Mapping[str, Any]) -> str:
    allowed = describe(node)
    return " ".join([node.get("description", ""), *([] if allowed == "text" else [f"({allowed})"])])


def _assignment(key: str, node: Mapping[str, Any], values: Mapping[str, Any], indent: str) -> str:
    value = values.get(key, node.get("default"))
    return f"{indent}{'' if key in values else '# '}{key}: {yaml_text(value)}"
