"""The search space of a recipe: which keys may have which values, and which of them make a recipe at all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medloom.errors import RecipeError
from medloom.recipe import Parameter, Recipe, with_values
from medloom.recipe.changes import flat
from medloom.recipe.reference import allowed_at, yaml_text
from medloom.registry import SPACES, load
from medloom.tuning.kinds import KINDS

__all__ = ["Choose", "Space", "Values", "label_of", "labels_of"]

Values = dict[str, Any]
"""Values by key of the recipe."""

Choose = Callable[[str, Parameter], Any]
"""From a key and what it may be to its value."""

_NOT_SEARCHED = {
    "name": "it changes nothing",
    "description": "it changes nothing",
    "target": "scores of different questions cannot be compared",
    "data": "scores on other images cannot be compared",
    "split": "scores on other patients cannot be compared",
    "evaluate": "it has no part in the score of an epoch",
    "package": "it has no part in the score of an epoch",
    "distil": "it has no part in the score of an epoch",
    "tune": "it says how the study goes",
    "train.monitor": "it is the score",
    "train.seed": "the best of several seeds is luck; --confirm measures what the seed does",
    "train.seeds": "each setting is trained once; --confirm measures what the seed does",
    "train.device": "it has no part in the score",
    "train.devices": "it has no part in the score",
    "train.strategy": "it has no part in the score",
    "train.average": "it has no part in the score",
    "train.checkpoint_minutes": "it has no part in the score",
}
"""Keys and sections that no study searches, and why."""

_SEARCHED = ("data.context", "data.channels", "data.missing_channel", "data.labels.metadata")
"""Keys of ``data`` that leave the samples what they are."""

_MOST_COMBINATIONS = 256
_MOST_GRID = 100_000


@dataclass(frozen=True)
class Space:
    """What a study searches.

    Args:
        recipe: The recipe, whose values stand wherever none is searched.
        parameters: What each key may be, in the order in which they are chosen: one that depends on another comes
            after it.

    Example:
        >>> from medloom.recipe import load_recipe
        >>> list(Space.of(load_recipe("chest-xray")).parameters)
        ['train.optimizer.lr', 'train.batch_size']
    """

    recipe: Recipe
    parameters: Mapping[str, Parameter]

    @classmethod
    def of(cls, recipe: Recipe) -> Space:
        """Return the space of a recipe: its preset, with what ``tune.space`` says in the place of that.

        Raises:
            RecipeError: If there is none, or a key may not be searched.
        """
        name = recipe.tune.preset
        if name == "auto" and not recipe.tune.space:
            name = KINDS.get(recipe.target.kind, "")
        if not name:
            raise RecipeError("tune.space: what is predicted is found while preparing, so the space has to be said")
        ready = load(SPACES[name]) if SPACES[name].home else {}
        parameters = {**ready, **recipe.tune.space}
        for key in parameters:
            _refuse(recipe, key)
        return cls(recipe, _in_order(parameters))

    def chosen(self, choose: Choose) -> Values:
        """Ask for a value of each key that is searched beside those chosen before it.

        Args:
            choose: Returns the value.
        """
        plain, values = flat(self.recipe.plain()), Values()
        for key, parameter in self.parameters.items():
            if _holds(parameter.when, plain):
                values[key] = choose(key, parameter)
                plain.update(flat({key: values[key]}) if isinstance(values[key], Mapping) else {key: values[key]})
        return values

    def recipe_of(self, values: Values) -> Recipe:
        """Return the recipe with the values of a trial.

        Raises:
            RecipeError: Naming the key, if they make none.
        """
        try:
            return with_values(self.recipe, values)
        except RecipeError as error:
            said = ", ".join(f"{key}={yaml_text(value)}" for key, value in values.items())
            only = "; `when` searches a key only beside a value of another" if "it acts only with" in str(error) else ""
            raise RecipeError(f"tune.space: no recipe has {said}: {error}{only}") from error

    def own(self) -> Values | None:
        """Return the recipe's own values, or None if one of them is not in the space."""
        plain = self.recipe.plain()
        try:
            return self.chosen(lambda key, parameter: _own(key, parameter, plain))
        except LookupError:
            return None

    def check(self) -> list[Recipe]:
        """Try the ends of every range and every choice, together with those of the other keys.

        Of very many combinations as many are tried as a second has room for, evenly among them, and each value with
        the first of all others.

        Returns:
            The recipes that were tried.

        Raises:
            RecipeError: Naming the key whose value makes no recipe, or has no effect.
        """
        tried: dict[str, tuple[Values, Recipe]] = {}
        for values in [*self._alone(), *self._together()]:
            text = yaml_text(values)
            if text not in tried:
                tried[text] = (values, self.recipe_of(values))
                self._acts(values, tried[text][1])
        return [recipe for _, recipe in tried.values()]

    def grid(self, points: int) -> list[Values]:
        """Return every combination, of a range so many values with equal distances.

        Raises:
            RecipeError: If they are too many to be tried.
        """
        found: dict[str, Values] = {}
        sizes = [_points(parameter, points) for parameter in self.parameters.values()]
        if math.prod(map(len, sizes)) > _MOST_GRID:
            raise RecipeError(
                f"tune.sampler: a grid of {math.prod(map(len, sizes)):,} settings; make the space or grid_points "
                f"smaller ({_MOST_GRID:,} at most), or take tpe or random"
            )
        for combination in itertools.product(*sizes):
            given = dict(zip(self.parameters, combination, strict=True))
            values = self.chosen(lambda key, _, given=given: given[key])  # type: ignore[misc]
            found.setdefault(yaml_text(values), values)
        return list(found.values())

    def points(self, key: str, points: int) -> list[Any]:
        """Return the values of one key in a grid: so many of a range, every one of a range with a step."""
        return _points(self.parameters[key], points)

    def _alone(self) -> Iterator[Values]:
        """Each value with the first of all other keys, and with what it depends on."""
        for searched, parameter in self.parameters.items():
            for value in (*parameter.extremes, *_between(parameter)):
                given = {**_wanted(parameter, self.parameters), searched: value}
                yield self.chosen(lambda key, other, given=given: given.get(key, other.extremes[0]))  # type: ignore[misc]

    def _together(self) -> Iterator[Values]:
        sizes = [list(parameter.extremes) for parameter in self.parameters.values()]
        count = math.prod(map(len, sizes))
        step = max(1, count // _MOST_COMBINATIONS) | 1  # odd, so that no key of two values is always the same
        for combination in itertools.islice(itertools.product(*sizes), 0, None, step):
            given = dict(zip(self.parameters, combination, strict=True))
            yield self.chosen(lambda key, _, given=given: given[key])  # type: ignore[misc]

    def _acts(self, values: Values, recipe: Recipe) -> None:
        """Raise if a value is not what the recipe then says, because another key decides about it."""
        found = recipe.plain()
        for key, value in values.items():
            inside = any(other.startswith(f"{key}.") for other in values)
            if not inside and not _says(_at(found, key), value):
                said = f"with {yaml_text(value)} the recipe has {yaml_text(_at(found, key))}"
                raise RecipeError(f"tune.space.{key}: {said}; another key decides about it")


def label_of(value: object) -> Any:  # noqa: ANN401 - a number, a word or None
    """Return a choice as Optuna keeps it: numbers and words as they are, lists and groups as YAML."""
    return value if value is None or isinstance(value, bool | int | float | str) else yaml_text(value)


def labels_of(parameter: Parameter) -> dict[Any, Any]:
    """Return the choices of a parameter by their labels."""
    return {label_of(value): value for value in parameter.choices or ()}


def _refuse(recipe: Recipe, key: str) -> None:
    parts = key.split(".")
    above = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    why = next((_NOT_SEARCHED[one] for one in above if one in _NOT_SEARCHED), None)
    if why is not None and not any(one in _SEARCHED for one in above):
        raise RecipeError(f"tune.space.{key}: no study searches it: {why}")
    if within := [one for one in _NOT_SEARCHED if one.startswith(f"{key}.")]:
        raise RecipeError(
            f"tune.space.{key}: {within[0]} is inside it, which no study searches; name the keys inside it"
        )
    if parts[0] == "loss" and recipe.train.monitor == "loss":
        raise RecipeError(f"tune.space.{key}: train.monitor is the loss itself, and values of two losses say nothing")
    if not allowed_at(parts, recipe.target.kind) and not _is_free(recipe, parts):
        with_values(recipe, {key: None})  # says which keys there are
        raise RecipeError(f"tune.space.{key}: there is no such key")


def _is_free(recipe: Recipe, parts: Sequence[str]) -> bool:
    """Whether a key is inside a group that takes any names, such as ``model.args``."""
    for count in range(1, len(parts)):
        node = allowed_at(parts[:count], recipe.target.kind)
        if node.get("type") == "object" and "properties" not in node:
            return True
    return False


def _in_order(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Those that others depend on first; what is inside another key after that."""
    left, ordered = dict(parameters), dict[str, Parameter]()
    while left:
        ready = [
            key
            for key, parameter in left.items()
            if not any(other != key and (other in parameter.when or key.startswith(f"{other}.")) for other in left)
        ]
        if not ready or any(key in left[key].when for key in ready):
            raise RecipeError(f"tune.space: {', '.join(left)} depend on each other; one of them has to come first")
        ordered |= {key: left.pop(key) for key in ready}
    return ordered


def _between(parameter: Parameter) -> Sequence[float]:
    """A number inside a range, which is no whole one where any number may come."""
    low, high = parameter.uniform or parameter.log_uniform or (0.0, 0.0)
    return [] if parameter.step is not None or high == 0.0 else [low + (high - low) * 0.381966]


def _holds(when: Mapping[str, Any], plain: Values) -> bool:
    return all(plain.get(key) in (value if isinstance(value, list | tuple) else [value]) for key, value in when.items())


def _wanted(parameter: Parameter, parameters: Mapping[str, Parameter]) -> Values:
    """Values with which a parameter is searched, and with which those are that it depends on."""
    wanted = Values()
    for key, value in parameter.when.items():
        if key in parameters:
            wanted |= {**_wanted(parameters[key], parameters), key: value[0] if isinstance(value, list) else value}
    return wanted


def _points(parameter: Parameter, points: int) -> list[Any]:
    if parameter.ends is None:
        return list(parameter.choices or ())
    low, high = parameter.ends
    if parameter.step is not None:
        count = int((high - low) / parameter.step + 1e-9) + 1
        values = [low + number * parameter.step for number in range(count)]
    elif parameter.log_uniform:
        values = [low * (high / low) ** (number / (points - 1)) for number in range(points)]
    else:
        values = [low + (high - low) * number / (points - 1) for number in range(points)]
    return list(dict.fromkeys(round(value) for value in values)) if parameter.integer else values


def _own(key: str, parameter: Parameter, plain: Mapping[str, Any]) -> Any:  # noqa: ANN401 - anything a recipe can hold
    """What the recipe itself says, if that is in the space."""
    value, ends = _at(plain, key), parameter.ends
    if ends is None:
        inside = value in (parameter.choices or ())
    else:
        inside = isinstance(value, int | float) and not isinstance(value, bool) and ends[0] <= value <= ends[1]
    if not inside or (parameter.step is not None and ends and not _on_step(value, ends[0], parameter.step)):
        raise LookupError(key)
    return value


def _on_step(value: float, low: float, step: float) -> bool:
    steps = (value - low) / step
    return math.isclose(steps, round(steps), abs_tol=1e-9)


def _at(plain: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - anything a recipe can hold
    """The value at a dotted key; None where there is none."""
    node: Any = plain
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _says(found: object, value: object) -> bool:
    """Whether a recipe has a value, which may be written otherwise there: yes as true, 32 as a word."""
    return found == value or isinstance(found, bool) or str(found) == str(value)
