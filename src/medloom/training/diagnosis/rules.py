"""The rules of a training: those of the table ``medloom.registry.RULES`` that its recipe asks for."""

from __future__ import annotations

from dataclasses import dataclass

from medloom.errors import RecipeError
from medloom.recipe import Recipe
from medloom.registry import RULES, Entry, load
from medloom.training.diagnosis.rule import Rule

__all__ = ["Watched", "rules_of"]


@dataclass(frozen=True)
class Watched:
    """A rule and what the table says of it.

    Args:
        name: Its name.
        summary: One line for people.
        rule: What looks.
        moments: When it looks: after sampled steps, after epochs, or both.
        ends: Whether it may end a training, where the recipe lets rules do that.
    """

    name: str
    summary: str
    rule: Rule
    moments: tuple[str, ...] = ("step", "epoch")
    ends: bool = True


def rules_of(recipe: Recipe) -> list[Watched]:
    """Return the rules that a recipe asks for, in the order of the table; of ``all`` those for what it predicts.

    Raises:
        RecipeError: If it names one that is not for what it predicts.
    """
    chosen, kind = recipe.diagnose.chosen(), recipe.target.kind
    fitting = [name for name in chosen if _is_for(RULES[name], kind)]
    if recipe.diagnose.rules != "all" and (others := [name for name in chosen if name not in fitting]):
        raise RecipeError(f"diagnose.rules: {', '.join(others)} has nothing to look at with target.kind {kind}")
    return [_watched(name, RULES[name]) for name in fitting]


def _is_for(entry: Entry, kind: str) -> bool:
    return not entry.kinds or kind in entry.kinds


def _watched(name: str, entry: Entry) -> Watched:
    return Watched(name, entry.summary, load(entry)(), tuple(entry.traits["at"]), bool(entry.traits.get("ends", True)))
