"""From YAML and ``key=value`` overrides to a checked recipe."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from medloom.errors import RecipeError
from medloom.recipe.library import builtin_names, builtin_text, nearest
from medloom.recipe.schema import Recipe

__all__ = ["load_recipe", "parse_recipe"]

_MAX_RECIPE_BYTES = 256 * 1024
_MAX_NODES = 20_000


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe by built-in name or from a file.

    Args:
        source: Name of a built-in recipe, or path of a YAML file.
        overrides: ``key=value`` texts such as ``train.epochs=5``; the value is read as YAML.

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
        return parse_recipe(path.read_text(), overrides)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{text} is not UTF-8 text; a recipe is a YAML file") from error


def parse_recipe(text: str, overrides: Sequence[str] = ()) -> Recipe:
    """Check the YAML text of a recipe. See ``load_recipe``."""
    values = _read_yaml(text)
    for override in overrides:
        _apply(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError("\n".join(_explain(detail) for detail in error.errors())) from error


def _read_yaml(text: str) -> dict[str, Any]:
    try:
        _refuse_aliases(text)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"the recipe is not valid YAML: {_one_line(error)}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"a recipe is a mapping of keys to values; this one is a {type(values).__name__}")
    return values


def _refuse_aliases(text: str) -> None:
    """Aliases can make a small file expand without end, and no recipe needs one."""
    for count, token in enumerate(yaml.scan(text, Loader=yaml.SafeLoader)):
        if isinstance(token, yaml.AliasToken):
            raise RecipeError(f"line {token.start_mark.line + 1}: a recipe may not use YAML aliases (*{token.value})")
        if count > _MAX_NODES:
            raise RecipeError("the recipe is too long to be one")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise RecipeError(f"--set {override!r}: expected key=value, such as train.epochs=5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override!r}: the value is not valid YAML: {_one_line(error)}") from error
    *path, last = key.strip().split(".")
    node = values
    for part in path:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise RecipeError(f"--set {override!r}: {part} is a value, not a group of keys")
        node = child
    node[last] = value


def _explain(detail: ErrorDetails) -> str:
    """One line: the field, what came, what is allowed."""
    location = [str(part) for part in detail["loc"] if not _is_union_tag(str(part))]
    field = ".".join(location) or "recipe"
    if detail["type"] == "extra_forbidden":
        valid = _keys_at(detail["loc"][:-1])
        return f"{field}: unknown key{nearest(location[-1], valid)}; allowed here: {', '.join(valid)}"
    if detail["type"] == "missing":
        return f"{field}: is missing"
    message = detail["msg"].removeprefix("Value error, ")
    came = detail["input"]
    shown = "" if isinstance(came, (Mapping, BaseModel)) else f" (got {came!r})"
    return f"{field}: {message[:1].lower()}{message[1:]}{shown}"


def _is_union_tag(part: str) -> bool:
    """Pydantic names the member of a union in an error's location; a user has no use for it."""
    return part.startswith(("literal[", "constrained-", "function-")) or part in (
        "float",
        "int",
        "str",
        "none",
    )


def _keys_at(location: Sequence[int | str]) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        candidates = [annotation, *typing.get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
