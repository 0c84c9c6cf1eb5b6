"""Which of several readings is meant; where two are about equally likely, a question and never a guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medloom.data.survey.trial import Trial, Void
from medloom.errors import UserError
from medloom.recipe.reference import yaml_text
from medloom.wording import counted

__all__ = ["Option", "Undecided", "chosen", "considered"]

_ALIKE = 0.5
"""A reading of as many samples, as a share of those of the largest, is about as likely."""

_SOME = 0.05
"""One of as many is, where it says something else of the same images."""

_ASKED = ("target.columns", "target.blank", "data.mask", "data.image", "data.labels.file")
"""Keys by which a person knows best which reading is which."""


@dataclass(frozen=True)
class Option:
    """One answer to the question.

    Args:
        text: What it means.
        settings: What to say on the command line, each ``key=value``.
    """

    text: str
    settings: tuple[str, ...]

    @property
    def command(self) -> str:
        """The option as it is typed."""
        return " ".join(f"--set '{setting}'" for setting in self.settings)


class Undecided(UserError):
    """The files can be read in several ways that are about equally likely.

    Args:
        options: The ways, the most likely first.
    """

    def __init__(self, options: Sequence[Option]) -> None:
        self.options = tuple(options)
        lines = [f"  {option.command}\n      {option.text}" for option in options]
        super().__init__(
            f"the files can be read in {len(options)} ways that are about equally likely. Say which is meant, by "
            "adding one of these:\n" + "\n".join(lines)
        )


def chosen(trials: Sequence[Trial]) -> Trial:
    """Return the reading that is meant: of the strongest kind of evidence, and of that the one with most samples.

    Args:
        trials: Readings that hold.

    Raises:
        Undecided: If another one is about as likely.
    """
    strongest = max(trial.reading.strength for trial in trials)
    strong = sorted((one for one in trials if one.reading.strength == strongest), key=lambda one: -one.samples)
    likely = [one for one in strong if one.samples >= _ALIKE * strong[0].samples or _disagrees(one, strong[0])]
    if len(likely) == 1:
        return likely[0]
    raise Undecided(_options(likely))


def _disagrees(one: Trial, most: Trial) -> bool:
    """Whether a reading says something else of images of the largest one, and of more than a few."""
    if one.samples < _SOME * most.samples:
        return False
    images = {item.images for item in most.listing.items}
    return sum(item.images in images for item in one.listing.items) >= _ALIKE * one.samples


def considered(trials: Sequence[Trial], voids: Sequence[Void], taken: Trial) -> list[str]:
    """Return a sentence for each reading that was not taken."""
    others = [
        f"{trial.reading.name}: {counted(trial.samples, 'sample')}, {_why(trial, taken)}"
        for trial in trials
        if trial is not taken and not _same(trial, taken)
    ]
    return [*others, *(f"{void.reading.name}: {void.reason}" for void in voids)]


def _same(one: Trial, other: Trial) -> bool:
    """Whether two readings take the same files for the same."""
    files = [[(item.images, item.masks, item.labels) for item in trial.listing.items] for trial in (one, other)]
    return files[0] == files[1]


def _why(trial: Trial, taken: Trial) -> str:
    if trial.reading.strength < taken.reading.strength:
        return "but there is more that speaks for what was taken"
    return "fewer than of what was taken"


def _options(trials: Sequence[Trial]) -> list[Option]:
    """Each reading with the fewest keys that tell it from the others."""
    values = [trial.reading.values for trial in trials]
    keys = [key for key in dict.fromkeys(key for value in values for key in value) if _differs(key, values)]
    plain = [*(key for key in _ASKED if key in keys), *(key for key in keys if key not in _ASKED)]
    single = next((key for key in plain if _tells_apart(key, values)), None)
    asked = [single] if single else keys
    return [
        Option(
            f"{trial.reading.name}: {counted(trial.samples, 'sample')}",
            tuple(f"{key}={_text(value, key)}" for key in asked if key in value),
        )
        for trial, value in zip(trials, values, strict=True)
    ]


def _tells_apart(key: str, values: Sequence[dict[str, Any]]) -> bool:
    """Whether every reading has the key, each with a value of its own."""
    return all(key in value for value in values) and len({_text(value, key) for value in values}) == len(values)


def _differs(key: str, values: Sequence[dict[str, Any]]) -> bool:
    return len({_text(value, key) for value in values}) > 1


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else yaml_text(value)
