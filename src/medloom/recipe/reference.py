"""What the recipe's schema says, for people and for editors.

``python -m medloom.recipe.reference docs`` writes ``recipe.schema.json`` and ``recipe.md`` into ``docs``.
The error messages of recipes use the same words as the reference.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medloom.files import write_text
from medloom.recipe.kinds import DEFAULT, KINDS

__all__ = [
    "allowed_at",
    "allowed_in",
    "describe",
    "json_schema",
    "reference",
    "tree",
    "whole_schema",
    "write_reference",
    "yaml_text",
]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"

_WORDS = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "string": "text"}

_INTRODUCTION = """# Recipe reference

One YAML file says everything about a run. `medloom init brain-mri` writes one to edit, and `--set key=value`
overrides any value on the command line, such as `--set train.epochs=5`. Every key has a default except `name`.
A key or a value that is not listed here is an error.

What is predicted is said in the section `target`, and its `kind` decides which other keys there are: a heading names
the kinds that it is for, and no kind means all of them. Without `target` a recipe predicts masks.

Editors complete and check recipes that begin with `# yaml-language-server: $schema=recipe.schema.json`
beside a copy of [recipe.schema.json](recipe.schema.json).

This page is written by `make docs` from `src/medloom/recipe/`.
"""


def json_schema(kind: str = DEFAULT) -> dict[str, Any]:
    """Return the JSON schema of the recipes of one kind (draft 2020-12).

    Args:
        kind: A key of ``medloom.recipe.kinds.KINDS``; of another one, the default's.
    """
    schema = KINDS.get(kind, KINDS[DEFAULT]).model_json_schema()
    return {"$schema": _DRAFT, **schema, "title": "Medloom recipe"}


def whole_schema() -> dict[str, Any]:
    """Return the JSON schema of every recipe, for editors: one alternative for each kind."""
    definitions: dict[str, Any] = {}
    members = []
    for kind in KINDS:
        schema = json_schema(kind)
        definitions |= schema.pop("$defs")
        del schema["$schema"]
        if kind != DEFAULT:  # without its kind a recipe would fit every alternative
            schema["required"] = [*schema["required"], "target"]
            schema["properties"] = {
                **schema["properties"],
                "target": {"allOf": [schema["properties"]["target"], {"required": ["kind"]}]},
            }
        members.append({**schema, "title": f"Recipe with target.kind {kind}"})
    return {"$schema": _DRAFT, "title": "Medloom recipe", "anyOf": members, "$defs": definitions}


def describe(node: Mapping[str, Any]) -> str:
    """Say in words what a JSON schema allows.

    Example:
        >>> describe({"type": "number", "minimum": 0, "maximum": 1})
        'a number from 0 to 1'
    """
    if "anyOf" in node:
        return " or ".join(describe(member) for member in node["anyOf"])
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return "one of " + ", ".join(str(value) for value in node["enum"])
    return _describe_type(node)


def tree(kind: str = DEFAULT) -> dict[str, Any]:
    """Return the JSON schema of the recipes of one kind with every reference replaced by what it refers to."""
    schema = json_schema(kind)
    return dict(_without_references(schema, schema["$defs"]))


def allowed_at(location: Sequence[int | str], kind: str = DEFAULT) -> dict[str, Any]:
    """Return the JSON schema of the value at ``location`` in a recipe, such as ``("train", "epochs")``.

    Empty if recipes of this kind have no such place.
    """
    return allowed_in(tree(kind), location)


def allowed_in(node: Mapping[str, Any], location: Sequence[int | str]) -> dict[str, Any]:
    """Return the same of a tree that is there already: making one takes a while.

    Args:
        node: What ``tree`` returned, or a part of it.
        location: Where the value stands in it.
    """
    for part in location:
        node = _child(node, part)
    return dict(node)


def yaml_text(value: object) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def reference() -> str:
    """Return the reference of all keys as Markdown: what all kinds share, and beside it what is of some alone."""
    return "\n".join([_INTRODUCTION, *_sections("", {kind: tree(kind) for kind in KINDS})])


def write_reference(folder: Path) -> None:
    """Write ``recipe.schema.json`` and ``recipe.md`` into ``folder``."""
    write_text(folder / "recipe.schema.json", json.dumps(whole_schema(), indent=2) + "\n")
    write_text(folder / "recipe.md", reference())


def _without_references(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow every reference into the definitions, keeping what stands beside it."""
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        return _without_references({**target, **{k: v for k, v in node.items() if k != "$ref"}}, definitions)
    return {key: _followed(value, definitions) for key, value in node.items() if key != "$defs"}


def _followed(value: object, definitions: Mapping[str, Any]) -> object:
    if isinstance(value, Mapping):
        return _without_references(value, definitions)
    return [_followed(one, definitions) for one in value] if isinstance(value, list) else value


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


def _sections(path: str, nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A group of keys as it is for every kind that has it, then the groups inside it.

    Args:
        path: Where the group stands, with a dot behind it.
        nodes: Its schema by kind.
    """
    for kinds, keys in _alike(nodes):
        node = nodes[kinds[0]]
        yield _heading(path, node, kinds)
        yield "\n".join(["| key | allowed | default | |", "|---|---|---|---|", *(_row(path, *key) for key in keys), ""])
    for key in dict.fromkeys(key for node in nodes.values() for key in _groups(node)):
        inside = {kind: _groups(node)[key] for kind, node in nodes.items() if key in _groups(node)}
        yield from _sections(f"{path}{key}.", inside)


def _groups(node: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {key: child for key, child in node["properties"].items() if "properties" in child}


def _alike(nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[list[str], list[tuple[str, Mapping[str, Any]]]]]:
    """The kinds whose keys of a group are the same, with those keys; nothing for a group that only holds groups."""
    kinds: dict[str, list[str]] = {}
    keys: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for kind, node in nodes.items():
        found = [(key, child) for key, child in node["properties"].items() if "properties" not in child]
        text = json.dumps(found, sort_keys=True)
        kinds.setdefault(text, []).append(kind)
        keys[text] = found
    yield from ((kinds[text], found) for text, found in keys.items() if found)


def _heading(path: str, node: Mapping[str, Any], kinds: Sequence[str]) -> str:
    level = "#" * (1 + max(1, path.count(".")))
    title = f"`{path.rstrip('.')}`" if path else "Top level"
    whose = "" if len(kinds) == len(KINDS) else f" ({', '.join(kinds)})"
    return f"{level} {title}{whose}\n\n{node.get('description', '')}\n"


def _row(path: str, key: str, node: Mapping[str, Any]) -> str:
    default = _shown(node["default"]) if "default" in node else "required"
    cells = (f"`{path}{key}`", describe(node), default, " ".join(node.get("description", "").split()))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(value: object) -> str:
    return "empty" if value is None or value == "" else f"`{yaml_text(value)}`"


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]))
