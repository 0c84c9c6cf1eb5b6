"""From hyper-parameters to settings of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medloom.container.coercing import boolean, coerced, unquoted
from medloom.errors import RecipeError
from medloom.recipe.kinds import KINDS
from medloom.recipe.reference import allowed_in, tree, yaml_text
from medloom.wording import nearest

__all__ = ["ALIASES", "OWN", "Alias", "Asked", "read_hyperparameters"]


@dataclass(frozen=True)
class Alias:
    """Another name of a recipe's key.

    Args:
        key: The key.
        words: What yes and no mean there, where that is not what the key takes.
    """

    key: str
    words: Mapping[bool, object] = field(default_factory=dict)


ALIASES: dict[str, Alias] = {
    "lr": Alias("train.optimizer.lr"),
    "learning-rate": Alias("train.optimizer.lr"),
    "weight-decay": Alias("train.optimizer.weight_decay"),
    "batch-size": Alias("train.batch_size"),
    "epochs": Alias("train.epochs"),
    "max-epochs": Alias("train.epochs"),
    "seed": Alias("train.seed"),
    "model-type": Alias("model.name"),
    "debugging": Alias("diagnose.rules", {True: "all", False: "none"}),
    "profiler": Alias("train.profile", {True: "full", False: "none"}),
    "wandb-tracking": Alias("tracking.trackers", {True: ["wandb"], False: []}),
}
"""Names that scripts use elsewhere; hyphens and underscores are one."""

OWN = {
    "recipe": "name of a built-in recipe, or path of a YAML file in a channel; without it the images are looked at",
    "preset": "how much work goes into it: quick, good or best",
    "run": "name of the run, below the folder of checkpoints",
    "output-dir": "folder for the finished run, in the place of the one that becomes output.tar.gz",
}
"""Names that are no keys of a recipe."""

_RESERVED = ("sagemaker_", "_tuning_objective_metric")


@dataclass(frozen=True)
class Asked:
    """What hyper-parameters ask for.

    Args:
        settings: ``key=value`` texts for the recipe.
        own: Values of ``OWN`` by name.
        is_trial: Whether SageMaker's tuner has started this job.
    """

    settings: tuple[str, ...]
    own: Mapping[str, str]
    is_trial: bool = False


def read_hyperparameters(given: Mapping[str, str]) -> Asked:
    """Read hyper-parameters, whatever launcher wrote them.

    Args:
        given: Texts by name: keys of a recipe such as ``train.epochs``, names of ``ALIASES`` and of ``OWN``. What
            SageMaker keeps for itself is left out.

    Raises:
        RecipeError: If a name is none of these, or a key is given twice with other values; one line each.

    Example:
        >>> read_hyperparameters({"lr": "1e-3", "debugging": "False", "sagemaker_region": '"eu-west-1"'}).settings
        ('train.optimizer.lr=0.001', 'diagnose.rules=none')
    """
    problems: list[str] = []
    values: dict[str, object] = {}
    own: dict[str, str] = {}
    trees = [tree(kind) for kind in KINDS]
    for name, text in given.items():
        if name.startswith(_RESERVED):
            continue
        if name.replace("_", "-") in OWN:
            own[name.replace("_", "-")] = unquoted(text)
            continue
        key, value = _read(name, text, trees)
        if key is None:
            problems.append(_unknown(name, trees))
        elif key in values and values[key] != value:
            problems.append(f"{name}: {key} is given twice, with other values")
        else:
            values[key] = value
    if problems:
        raise RecipeError("\n".join(problems))
    settings = tuple(f"{key}={yaml_text(value)}" for key, value in values.items())
    return Asked(settings, own, "_tuning_objective_metric" in given)


def _read(name: str, text: str, trees: Sequence[Mapping[str, Any]]) -> tuple[str | None, object]:
    alias = ALIASES.get(name.replace("_", "-"))
    key = name if alias is None else alias.key
    word = boolean(text)
    if alias is not None and alias.words and word is not None:
        return key, alias.words[word]
    node = next((found for tree in trees if (found := allowed_in(tree, key.split(".")))), None)
    if node is None and not _is_free(key, trees):
        return None, None
    return key, coerced(text, node or {})


def _is_free(key: str, trees: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a key lies in a group that takes any JSON value, as ``model.args.dropout``."""
    *above, _ = key.split(".")
    groups = [allowed_in(tree, above) for tree in trees] if above else []
    return any(group.get("additionalProperties", False) is not False for group in groups)


def _unknown(name: str, trees: Sequence[Mapping[str, Any]]) -> str:
    keys = dict.fromkeys(key for tree in trees for key in _below(tree, ""))
    guess = nearest(name, [*keys, *ALIASES, *OWN])
    return f"{name}: there is no such hyper-parameter; expected a recipe's key, as in docs/recipe.md{guess}"


def _below(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Yield every key below a place."""
    for name, inner in node.get("properties", {}).items():
        yield f"{prefix}{name}"
        yield from _below(inner, f"{prefix}{name}.")
