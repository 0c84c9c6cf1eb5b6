"""What the recipe's schema says, for people and for editors.

``python -m medloom.recipe.reference docs`` writes ``recipe.schema.json`` and ``recipe.md`` into ``docs``.
The error messages of recipes use the same words as the reference.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from medloom.files import write_text
from medloom.recipe.schema import Recipe

__all__ = ["allowed_at", "describe", "json_schema", "properties_of", "reference", "write_reference", "yaml_text"]

_WORDS = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "string": "text"}

_INTRODUCTION = """# Recipe reference

One YAML file says everything about a run. `medloom init brain-mri` writes one to edit, and `--set key=value`
overrides any value on the command line, such as `--set train.epochs=5`. Every key has a default except `name`.
A key or a value that is not listed here is an error.

Editors complete and check recipes that begin with `# yaml-language-server: $schema=recipe.schema.json`
beside a copy of [recipe.schema.json](recipe.schema.json).

This page is written by `make docs` from `src/medloom/recipe/schema.py` and the sections beside it.
"""


@cache
def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe (draft 2020-12)."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Medloom recipe"}


def describe(node: Mapping[str, Any]) -> str:
    """Say in words what a JSON schema allows.

    Example:
        >>> describe({"type": "number", "minimum": 0, "maximum": 1})
        'a number from 0 to 1'
    """
    node = _resolve(node)
    if "anyOf" in node:
        return " or ".join(describe(member) for member in node["anyOf"])
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return "one of " + ", ".join(str(value) for value in node["enum"])
    return _describe_type(node)


def allowed_at(location: Sequence[int | str]) -> dict[str, Any]:
    """Return the JSON schema of the value at ``location`` in a recipe, such as ``("train", "epochs")``.

    Empty if the recipe has no such place.
    """
    node: Mapping[str, Any] = json_schema()
    for part in location:
        node = _child(_resolve(node), part)
    return dict(_resolve(node))


def properties_of(node: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schemas of a group's keys, with references followed."""
    return {key: dict(_resolve(value)) for key, value in node["properties"].items()}


def yaml_text(value: object) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def reference() -> str:
    """Return the reference of all keys as Markdown."""
    sections = [_INTRODUCTION, *_sections("", json_schema())]
    return "\n".join(sections)


def write_reference(folder: Path) -> None:
    """Write ``recipe.schema.json`` and ``recipe.md`` into ``folder``."""
    write_text(folder / "recipe.schema.json", json.dumps(json_schema(), indent=2) + "\n")
    write_text(folder / "recipe.md", reference())


def _resolve(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference into the definitions, keeping what stands beside it."""
    if "$ref" not in node:
        return node
    target = json_schema()["$defs"][node["$ref"].rpartition("/")[2]]
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


def _child(node: Mapping[str, Any], part: int | str) -> Mapping[str, Any]:
    if isinstance(part, int):
        places = node.get("prefixItems", ())
        found = places[part] if part < len(places) else node.get("items", {})
    else:
        found = node.get("properties", {}).get(part, node.get("additionalProperties"))
    return found if isinstance(found, Mapping) else {}


def _describe_type(node: Mapping[str, Any]) -> str:
    kind = node.get("type")
    if kind == "null":
        return "empty"
    if kind == "array":
        return _describe_list(node)
    if kind == "object":
        return "a group of keys" if "properties" in node else _describe_names(node)
    word = _WORDS.get(str(kind), "any JSON value")
    return f"{word} {limits}" if (limits := _limits(node)) else word


def _describe_names(node: Mapping[str, Any]) -> str:
    values = node.get("additionalProperties")
    each = describe(values) if isinstance(values, Mapping) else "any JSON value"
    fewest = f"at least {node['minProperties']} " if "minProperties" in node else ""
    return f"a group of {fewest}names, each with {each}"


def _describe_list(node: Mapping[str, Any]) -> str:
    places = [describe(place) for place in node.get("prefixItems", ())]
    if not places:
        fewest = f" of at least {node['minItems']}" if "minItems" in node else ""
        return f"a list{fewest}, each {describe(node.get('items', {}))}"
    return f"a list of {len(places)}: " + " and ".join(places)


def _limits(node: Mapping[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f"from {_number(low)} to {_number(high)}"
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "of at most",
        "exclusiveMaximum": "below",
    }
    return " and ".join(f"{word} {_number(node[key])}" for key, word in words.items() if key in node)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"  # all digits of a large whole number


def _sections(path: str, node: Mapping[str, Any]) -> Iterator[str]:
    properties = properties_of(node)
    groups = {key: value for key, value in properties.items() if "properties" in value}
    yield _heading(path, node)
    rows = [_row(path, key, value) for key, value in properties.items() if key not in groups]
    if rows:
        yield "\n".join(["| key | allowed | default | |", "|---|---|---|---|", *rows, ""])
    for key, group in groups.items():
        yield from _sections(f"{path}{key}.", group)


def _heading(path: str, node: Mapping[str, Any]) -> str:
    level = "#" * (1 + max(1, path.count(".")))
    title = f"`{path.rstrip('.')}`" if path else "Top level"
    return f"{level} {title}\n\n{node.get('description', '')}\n"


def _row(path: str, key: str, node: Mapping[str, Any]) -> str:
    default = _shown(node["default"]) if "default" in node else "required"
    cells = (f"`{path}{key}`", describe(node), default, " ".join(node.get("description", "").split()))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(value: object) -> str:
    return "empty" if value is None or value == "" else f"`{yaml_text(value)}`"


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]))
