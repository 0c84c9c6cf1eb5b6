"""How much work goes into a run: quick, good or best, as values of the recipe that a preset sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from medloom.errors import RecipeError
from medloom.recipe.recipe import Recipe
from medloom.wording import nearest

__all__ = ["PRESETS", "Preset", "check_preset", "preset_settings"]

Preset = Literal["quick", "good", "best"]

PRESETS: dict[Preset, str] = {
    "quick": "a baseline in minutes: smaller images, a quarter of the epochs",
    "good": "the recipe as it is",
    "best": "five folds, their networks packaged as one, and four views of each image; about eight times as long",
}

_QUICK_SIDE = 128
_QUICK_EPOCHS, _FEWEST_EPOCHS = 0.25, 5
_FOLDS, _VIEWS, _MORE_EPOCHS = 5, 4, 1.5


def check_preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises:
        RecipeError: If there is none; the message has the nearest one.
    """
    for preset in PRESETS:
        if name == preset:
            return preset
    raise RecipeError(f"there is no preset {name!r}{nearest(name, list(PRESETS))}; valid: {', '.join(PRESETS)}")


def preset_settings(recipe: Recipe, preset: Preset) -> list[str]:
    """Return the values of a recipe that a preset sets, in the form of ``--set``.

    Args:
        recipe: The recipe as it is without the preset.
        preset: How much work goes into it.

    Example:
        >>> from medloom.recipe import load_recipe
        >>> preset_settings(load_recipe("brain-mri"), "quick")
        ['preprocess.size=[128, 128]', 'train.epochs=15', 'evaluate.views=1']
    """
    return {"quick": _quick, "good": lambda _: [], "best": _best}[preset](recipe)


def _quick(recipe: Recipe) -> list[str]:
    epochs = min(recipe.train.epochs, max(_FEWEST_EPOCHS, round(recipe.train.epochs * _QUICK_EPOCHS)))
    return [*_smaller(recipe), f"train.epochs={epochs}", "evaluate.views=1"]


def _smaller(recipe: Recipe) -> list[str]:
    """Both sides by one factor, so that the shorter one is not below 128; the part that the network sees with them."""
    preprocess = recipe.preprocess
    factor = _QUICK_SIDE / min(preprocess.size)
    if factor >= 1 or preprocess.spacing is not None:  # a size in mm is a part of the question
        return []
    smaller = [f"preprocess.size={_scaled(preprocess.size, factor, 32)}"]  # networks halve it five times
    if preprocess.input_size != preprocess.size:
        smaller.append(f"preprocess.crop={_scaled(preprocess.input_size, factor, 8)}")
    return smaller


def _scaled(sides: Sequence[int], factor: float, step: int) -> list[int]:
    """To multiples of a step."""
    return [max(step, step * round(side * factor / step)) for side in sides]


def _in_folds(recipe: Recipe) -> list[str]:
    """Folds in the place of a split; one that the recipe names is not replaced without a word."""
    split, plain = recipe.split, type(recipe.split)()
    named = ["split.file"] if split.file is not None else []
    named += [f"split.{key}" for key in ("train", "test") if getattr(split, key) != getattr(plain, key)]
    if named:
        raise RecipeError(
            f"--preset best divides the patients into {_FOLDS} folds, and the recipe has {' and '.join(named)}, which "
            "are for one split; leave them out, or take --preset good"
        )
    return [f"split.folds={_FOLDS}"]


def _best(recipe: Recipe) -> list[str]:
    folds = [] if recipe.split.folds else _in_folds(recipe)
    views = max(_VIEWS, recipe.evaluate.views)
    return [*folds, f"train.epochs={round(recipe.train.epochs * _MORE_EPOCHS)}", f"evaluate.views={views}"]
