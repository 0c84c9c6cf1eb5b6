"""A built-in recipe written out in full: every key, what it means and what it may be."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from medloom.recipe.library import builtin_text
from medloom.recipe.loading import kind_of, load_recipe
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
    values, meant = yaml.safe_load(text), load_recipe(name).plain()
    return "\n".join([*header, _HOW, *_group(tree(kind_of(values)), values, meant, "")]) + "\n"


def _group(node: Mapping[str, Any], values: Mapping[str, Any], meant: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Lines of a group; what the recipe leaves out is shown as it is meant, which a preset may have set."""
    for key, child in node["properties"].items():
        if "properties" in child:
            yield ""
            yield from _comment(child.get("description", ""), indent)
            yield f"{indent}{key}:"
            yield from _group(child, values.get(key) or {}, meant.get(key) or {}, f"{indent}  ")
        else:
            yield from _comment(_explanation(child), indent)
            yield _assignment(key, values, meant.get(key, child.get("default")), indent)


def _comment(text: str, indent: str) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent=prefix, subsequent_indent=prefix)


def _explanation(node: Mapping[str, Any]) -> str:
    allowed = describe(node)
    return " ".join([node.get("description", ""), *([] if allowed == "text" else [f"({allowed})"])])


def _assignment(key: str, values: Mapping[str, Any], meant: Any, indent: str) -> str:  # noqa: ANN401 - any YAML
    return f"{indent}{'' if key in values else '# '}{key}: {yaml_text(values.get(key, meant))}"
