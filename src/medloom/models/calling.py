"""Checks the arguments that a recipe gives to a builder, so that a wrong one is named with the right ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

from medloom.errors import RecipeError
from medloom.registry import check_name

__all__ = ["check_arguments", "keyword_arguments"]


def check_arguments(section: str, what: str, given: Iterable[str], valid: Iterable[str]) -> None:
    """Raise if a builder has no such argument.

    Args:
        section: Where the arguments are in the recipe, such as ``loss.args``.
        what: What is built, such as ``loss 'focal'``.
        given: Names of the arguments that the recipe gives.
        valid: Names that may be given.

    Raises:
        RecipeError: Naming the nearest and all valid names.
    """
    names = list(valid)
    for key in given:
        if not names:
            raise RecipeError(f"{section}: the {what} takes none; got {key!r}")
        check_name(f"argument of {what} named", key, names, RecipeError)


def keyword_arguments(builder: Callable[..., object]) -> list[str]:
    """Return the names of what a function takes by keyword only, in order."""
    parameters = inspect.signature(builder).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
