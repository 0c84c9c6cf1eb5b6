"""From YAML and ``key=value`` overrides to a checked recipe."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from medloom.errors import RecipeError
from medloom.recipe.kinds import DEFAULT, KINDS
from medloom.recipe.library import builtin_names, builtin_text
from medloom.recipe.older import in_present_form
from medloom.recipe.recipe import OF_A_RUN, Recipe
from medloom.recipe.reference import allowed_at, describe
from medloom.targets import Target
from medloom.wording import nearest

__all__ = [
    "kind_of",
    "load_recipe",
    "parse_recipe",
    "parse_settings",
    "resolve_target",
    "with_values",
    "written_values",
]

_MAX_RECIPE_BYTES = 256 * 1024
_MAX_TOKENS = 20_000
_MAX_DEPTH = 30
_MAX_SHOWN = 60

_OPENING = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)

# ValueError: a date or a number that Python cannot hold
_YAML_ERRORS = (yaml.YAMLError, RecursionError, ValueError)
_UNKNOWN_KEY = ("extra_forbidden", "invalid_key")
_MEMBERS = ("bool", "float", "int", "list[any]", "dict[str,...]", "none", "str")


def load_recipe(
    source: str | Path, overrides: Sequence[str] = (), *, noted: Callable[[str], object] | None = None
) -> Recipe:
    """Load a recipe by built-in name or from a file.

    Args:
        source: Name of a built-in recipe, or path of a YAML file.
        overrides: ``key=value`` texts such as ``train.epochs=5``; the value is read as YAML.
        noted: Told, in one sentence, that a recipe of an earlier form was read, and which keys are elsewhere now.

    Returns:
        The checked recipe.

    Raises:
        RecipeError: If the file, a key or a value is wrong; one line a field.

    Example:
        >>> load_recipe("brain-mri", ["train.epochs=5"]).train.epochs
        5
    """
    text = str(source)
    path = Path(source)
    if text in builtin_names():
        return parse_recipe(builtin_text(text), overrides)
    if not path.is_file():
        if path.suffix in (".yaml", ".yml") or "/" in text:
            raise RecipeError(f"there is no recipe file {text!r}")
        raise RecipeError(f"there is no recipe {text!r}{nearest(text, builtin_names())}; `medloom recipes` lists them")
    if path.stat().st_size > _MAX_RECIPE_BYTES:
        raise RecipeError(f"{text} has {path.stat().st_size} bytes; a recipe has at most {_MAX_RECIPE_BYTES}")
    try:
        return parse_recipe(path.read_text(encoding="utf-8"), overrides, noted=noted)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{text} is not UTF-8 text; a recipe is a YAML file") from error


def parse_recipe(
    text: str,
    overrides: Sequence[str] = (),
    *,
    noted: Callable[[str], object] | None = None,
    of_a_run: bool = False,
) -> Recipe:
    """Check the YAML text of a recipe. See ``load_recipe``.

    With ``of_a_run`` it is the recipe of a run that was made with it: keys that do nothing are let pass.
    """
    values, moved = in_present_form(_read_yaml(text))
    if moved and noted is not None:
        noted(f"the recipe has an earlier form and was read as today's: {', '.join(moved)}")
    for override in sorted(overrides, key=lambda text: not text.startswith("target.kind=")):  # it decides the keys
        _apply(values, override)
    return _checked(values, OF_A_RUN if of_a_run else None)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return ``key=value`` texts as values by dotted key, before it is known which kind of recipe they are for.

    Raises:
        RecipeError: If one is no such text.

    Example:
        >>> parse_settings(["train.epochs=5", "data.image={patient}/{sample}.png"])
        {'train.epochs': 5, 'data.image': '{patient}/{sample}.png'}
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, text = _key_and_text(setting)
        try:
            values[key] = _plain_values(text)
        except (*_YAML_ERRORS, RecipeError):
            values[key] = text
    return values


def kind_of(values: Mapping[str, Any]) -> str:
    """Return ``target.kind`` of a recipe's values, whatever stands there; the default where nothing does."""
    target = values.get("target")
    return str(target.get("kind", DEFAULT)) if isinstance(target, Mapping) else DEFAULT


def resolve_target(recipe: Recipe, target: Target) -> Recipe:
    """Return a recipe with what ``prepare`` found out about its target.

    Args:
        recipe: The recipe; where it says what is predicted, that stays.
        target: What was found.

    Raises:
        RecipeError: If a key that the recipe sets does not exist for this kind, or a value does not fit it.
    """
    values = written_values(recipe)
    section = {**values["target"], "kind": target.kind}
    field = KINDS[target.kind].model_fields["target"].annotation
    if target.names == tuple(section.get("columns", ())):
        section.pop("classes", None)  # the columns are the names
    elif field is not None and "classes" in field.model_fields:
        section["classes"] = list(target.names)
    else:
        section.pop("classes", None)
    for group, key in (("loss", "name"), ("train", "monitor")):
        if values.get(group, {}).get(key) == "auto":
            del values[group][key]
    return _checked({**values, "target": section})


def with_values(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with other values.

    Args:
        recipe: The recipe.
        changes: Values by dotted key, such as ``model.args.dropout``; each takes the place of all that stood there.

    Raises:
        RecipeError: If a key or a value is wrong, or would do nothing.

    Example:
        >>> with_values(load_recipe("brain-mri"), {"train.optimizer.lr": 0.25}).train.optimizer.lr
        0.25
    """
    values = written_values(recipe)
    for key in sorted(changes, key=lambda key: key.count(".")):  # what is inside comes after what it is inside of
        _put(values, key.split("."), deepcopy(changes[key]), key)  # what is put inside it is no concern of the caller's
    return _checked(values)


def written_values(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says: its values apart from defaults.

    What fills keys that are left out would fill one that the recipe sets to its default, so that is said again.
    """
    values, preprocess = recipe.model_dump(mode="json", exclude_defaults=True), recipe.preprocess
    window = preprocess.model_dump(mode="json", include={"window"} & preprocess.model_fields_set)
    target = {**values.get("target", {}), "kind": recipe.target.kind}
    return {
        **values,
        "target": target,
        "augment": recipe.augment.written(),
        "preprocess": {**values.get("preprocess", {}), **window},
    }


def _checked(values: Mapping[str, Any], context: Mapping[str, str] | None = None) -> Recipe:
    _refuse_old_form(values)
    kind = kind_of(values)
    if kind not in KINDS:
        raise RecipeError(
            f"target.kind: expected one of {', '.join(KINDS)}; got {_short(kind)}{nearest(kind, list(KINDS))}"
        )
    try:
        return KINDS[kind].model_validate(values, context=context)
    except ValidationError as error:
        raise RecipeError(_explain(error.errors(), kind)) from error


def _refuse_old_form(values: Mapping[str, Any]) -> None:
    """What is predicted had keys all over the recipe before it had a section."""
    data = values.get("data")
    old = "task" if "task" in values else "data.mask_values" if isinstance(data, dict) and "mask_values" in data else ""
    if old:
        raise RecipeError(
            f"{old}: a recipe says what it predicts in its section target now, such as target: "
            "{kind: masks, mask_values: {background: 0, lesion: 255}} or target: {kind: binary}; see docs/recipe.md"
        )


def _read_yaml(text: str) -> dict[str, Any]:
    try:
        values = _plain_values(text)
    except _YAML_ERRORS as error:
        raise RecipeError(f"the recipe is not valid YAML: {_one_line(error)}") from error
    if values is None:
        raise RecipeError("the recipe is empty; `medloom init` writes one to edit")
    if not isinstance(values, dict):
        kind = "list" if isinstance(values, list) else "single value"
        raise RecipeError(f"a recipe is a mapping of keys to values; this one is a {kind}")
    return values


def _plain_values(text: str) -> object:
    """Read YAML into plain types: no tags, no aliases, no key twice."""
    _refuse_what_grows(text)
    loader = _StrictLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _refuse_what_grows(text: str) -> None:
    """Aliases make a small file expand without end, and deep nesting is slow to read; no recipe needs either."""
    depth = 0
    for count, token in enumerate(yaml.scan(text, Loader=yaml.SafeLoader)):
        if isinstance(token, yaml.AliasToken):
            raise RecipeError(f"line {token.start_mark.line + 1}: a recipe may not use YAML aliases (*{token.value})")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > _MAX_DEPTH or count > _MAX_TOKENS:
            raise RecipeError(f"line {token.start_mark.line + 1}: too long or too deeply nested to be a recipe")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _apply(values: dict[str, Any], override: str) -> None:
    key, text = _key_and_text(override)
    place = key.split(".")
    _put(values, place, _value_of(override, text, tuple(place), kind_of(values)), f"--set {override!r}")


def _put(values: dict[str, Any], place: Sequence[str], value: object, said: str) -> None:
    *path, last = place
    node = values
    for part in path:
        if node.get(part) is None:  # missing, or a group whose keys are all commented out
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict):
            raise RecipeError(f"{said}: {part} is a value, not a group of keys")
    node[last] = value


def _key_and_text(override: str) -> tuple[str, str]:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise RecipeError(f"--set {override!r}: expected key=value, such as train.epochs=5")
    return key.strip(), text


def _value_of(override: str, text: str, place: tuple[str, ...], kind: str) -> object:
    """The value of an override: YAML, or as it stands where the recipe wants text: ``{patient}/{sample}.png``."""
    try:
        return _plain_values(text)
    except (*_YAML_ERRORS, RecipeError) as error:
        node = allowed_at(place, kind)
        if any(kind.get("type") == "string" for kind in (node, *node.get("anyOf", ()))):
            return text
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(f"--set {override!r}: the value is not valid YAML: {_one_line(error)}") from error


def _explain(errors: Sequence[ErrorDetails], kind: str) -> str:
    """One line a field: the field, what is allowed, what came. A union reports each member; the first will do."""
    lines: dict[tuple[int | str, ...], str] = {}
    for detail in errors:
        location = _place(detail)
        lines.setdefault(location, _line(location, detail, kind))
    return "\n".join(lines.values())


def _place(detail: ErrorDetails) -> tuple[int | str, ...]:
    """Where the value stands; the member of a union, with which pydantic ends a location, is no place."""
    *front, last = detail["loc"] or ("",)
    lists = [number for number, part in enumerate(detail["loc"]) if str(part).startswith(("tuple[", "dict["))]
    if lists:
        return detail["loc"][: lists[0]]  # what is wrong in a list that may be a single value, too, is said of both
    member = str(last) in _MEMBERS or str(last).startswith(("literal[", "constrained-", "function-"))
    return tuple(front) if front and member and detail["type"] not in _UNKNOWN_KEY else detail["loc"]


def _line(location: tuple[int | str, ...], detail: ErrorDetails, kind: str) -> str:
    field = ".".join(str(part) for part in location) or "recipe"
    if detail["type"] in _UNKNOWN_KEY:
        return _unknown_key(location, kind)
    node = allowed_at(location, kind)
    if detail["type"] == "missing":
        return f"{field}: is missing; expected {_expected(node)}"
    came = detail["input"]
    shown = "" if isinstance(came, (Mapping, BaseModel)) else f"; got {_short(came)}"
    if detail["type"] == "value_error":
        said = detail["msg"].removeprefix("Value error, ")
        if said.startswith("expected one of"):
            return f"{field}: {said}"
        return said if detail["loc"] == () else f"{field}: {said}{shown}"  # the whole recipe names its fields itself
    return (
        f"{field}: expected {_expected(node)}{shown}{nearest(str(came), [str(word) for word in node.get('enum', ())])}"
    )


def _unknown_key(location: tuple[int | str, ...], kind: str) -> str:
    """Which keys there are, and where the key exists for other kinds of answer, for which."""
    field, valid = ".".join(map(str, location)), list(allowed_at(location[:-1], kind).get("properties", {}))
    others = [other for other in KINDS if other != kind and allowed_at(location, other)]
    if others:
        return f"{field}: there is no such key for target.kind {kind}, only for {', '.join(others)}"
    return f"{field}: unknown key{nearest(str(location[-1]), valid)}; allowed here: {', '.join(valid)}"


def _expected(node: Mapping[str, Any]) -> str:
    """The kind of value; for text of a certain form, what its documentation says about the form."""
    if "pattern" not in node:
        return describe(node)
    return f"{describe(node)} ({' '.join(node.get('description', node['pattern']).split()).removesuffix('.')})"


def _short(came: object) -> str:
    text = repr(came)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
