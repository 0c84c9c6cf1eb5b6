"""A reading tried on the files: what the layout that it names finds, before anything else is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import yaml

from medloom.data.layouts import Listing, build_layout
from medloom.data.splits import as_listed
from medloom.data.survey.findings import Finding, Reading, nested
from medloom.data.survey.seen import Seen
from medloom.errors import DataError, RecipeError
from medloom.recipe import Recipe, parse_recipe, resolve_target
from medloom.targets import Target
from medloom.wording import counted

__all__ = ["Trial", "Void", "tried"]

_MOST_BAD = 0.2
"""A reading that sets aside a larger share of the samples is not how the files are meant."""

_SAID = {
    "missing_mask": ("image without a mask", "images without a mask"),
    "missing_image": ("mask or row without an image", "masks or rows without an image"),
    "missing_channel": ("sample that lacks a channel", "samples that lack a channel"),
    "missing_row": ("image without a row in the label file", "images without a row in the label file"),
    "duplicate": ("row about an image that another row is about", "rows about an image that another row is about"),
    "ambiguous": ("row that may mean several files", "rows that may mean several files"),
    "label": ("label that does not fit", "labels that do not fit"),
    "split": ("image outside the published parts", "images outside the published parts"),
}
_OTHER = ("problem of another kind", "problems of another kind")


@dataclass(frozen=True)
class Void:
    """A reading that does not hold.

    Args:
        reading: The reading.
        reason: Why, without the name of any file.
    """

    reading: Reading
    reason: str


@dataclass(frozen=True)
class Trial:
    """A reading that holds.

    Args:
        reading: The reading, its target resolved.
        recipe: Its recipe as far as it goes.
        listing: What the layout found.
        target: What is predicted.
    """

    reading: Reading
    recipe: Recipe
    listing: Listing
    target: Target

    @property
    def samples(self) -> int:
        """How many images, or files of several pages, there are."""
        return len(self.listing.items)

    @cached_property
    def images(self) -> list[str]:
        """The first file of each sample."""
        return [next(filter(None, item.images), "") for item in self.listing.items]

    @cached_property
    def masks(self) -> list[str]:
        """The mask of each sample that has one."""
        return [item.mask for item in self.listing.items if item.mask]

    @cached_property
    def known(self) -> int:
        """How many patients the layout knows."""
        return len({item.patient for item in self.listing.items if item.known})

    @cached_property
    def problems(self) -> Counter[str]:
        """How many problems there are of each kind."""
        return Counter(problem.kind for problem in self.listing.problems)

    @cached_property
    def published(self) -> Counter[str]:
        """How many samples each published part has."""
        return Counter(item.published for item in self.listing.items if item.published)

    @property
    def problem_texts(self) -> list[str]:
        """One sentence for each kind of problem."""
        return [counted(count, *_SAID.get(kind, _OTHER)) for kind, count in self.problems.most_common()]


def tried(reading: Reading, seen: Seen, settings: Mapping[str, Any]) -> Trial | Void:
    """Let the layout of a reading list the files.

    Args:
        reading: The reading.
        seen: The files.
        settings: Values by dotted key that the user gave; they count more than what was found.
    """
    if reading.refused:
        return Void(reading, reading.refused)
    try:
        trial = _listed(reading, seen, settings)
    except DataError as error:
        return Void(reading, error.summary)
    except RecipeError as error:
        return Void(reading, str(error))
    reason = _why_void(trial, seen, settings)
    return Void(reading, reason) if reason else trial


def _listed(reading: Reading, seen: Seen, settings: Mapping[str, Any]) -> Trial:
    """What the layout finds, with the parts of a split that is published in lists."""
    read = seen.source.read if reading.whole else seen.read
    given = (item for item in settings.items() if item[0].partition(".")[0] in ("data", "split", "target"))
    said = [Finding(key, value, "") for key, value in given]
    values = nested([Finding("name", "tried", ""), *reading.findings, *said])
    recipe = parse_recipe(yaml.safe_dump(values, sort_keys=False))
    found = build_layout(recipe).find(seen.names, read)
    if not found.items and not found.problems:
        raise DataError("no sample was found that way")
    return _with_target(reading, recipe, as_listed(found, recipe.split.lists, seen.names, seen.read))


def _why_void(trial: Trial, seen: Seen, settings: Mapping[str, Any]) -> str:
    """Why a reading does not hold although there are samples; empty if it does."""
    reading, found = trial.reading, trial.samples
    bad = sum(problem.kind not in reading.accepts for problem in trial.listing.problems)
    if not found or bad > _MOST_BAD * (found + bad):
        return f"{counted(found, 'sample')} found, but also {', '.join(trial.problem_texts)}"
    drift = {*reading.values, *settings} & {"target.mask_colours", "target.mask_tolerance"}
    return "" if drift or reading.whole else _no_masks(trial, seen)


def _no_masks(trial: Trial, seen: Seen) -> str:
    """Why the files that are taken for masks are none; where a recipe says how they drift, ``prepare`` looks."""
    looks = seen.mask_looks(trial.masks)
    refused = [look.refused for look in looks if look.refused]
    smeared = sum(look.smeared for look in looks)
    uneven = any(value != int(value) or value < 0 for look in looks for value in look.values)
    if refused:
        return f"{len(refused)} of {len(looks)} masks that were looked into cannot be read as masks: {refused[0]}"
    if smeared or uneven:
        return (
            f"{smeared or 'some'} of {len(looks)} masks that were looked into hold more values than classes have; if "
            "they drift around those of the classes, say so with --set target.mask_tolerance=127"
        )
    if looks and not any(look.foreground for look in looks):
        return f"all {len(looks)} masks that were looked into are empty"
    return ""


def _with_target(reading: Reading, recipe: Recipe, listing: Listing) -> Trial:
    """Put what the labels say into the reading, in the place of what was to be found out."""
    if listing.target is None:
        return Trial(reading, recipe, listing, recipe.predicts())
    resolved = resolve_target(recipe, listing.target)
    section = resolved.target.model_dump(mode="json", exclude_defaults=True)
    told = reading.values
    check = next((one.check for one in reading.findings if one.key == "target.kind"), "")
    found = [Finding("target.kind", listing.target.kind, _kind_evidence(listing.target), check=check)]
    found += [
        Finding(f"target.{key}", value, "as the labels are called")
        for key, value in section.items()
        if key != "kind" and f"target.{key}" not in told
    ]
    rest = [finding for finding in reading.findings if finding.key != "target.kind"]
    return Trial(replace(reading, findings=(*found, *rest)), resolved, listing, listing.target)


def _kind_evidence(target: Target) -> str:
    return f"{counted(len(target.names), 'label')} found: {', '.join(target.names[:8])}" + (
        ", ..." if len(target.names) > 8 else ""
    )
