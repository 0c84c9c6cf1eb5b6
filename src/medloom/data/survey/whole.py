"""From a folder or zip to the findings of a whole recipe."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloom.data.opening import Images, images_at, name_of, open_source
from medloom.data.sources import Source
from medloom.data.survey.choice import chosen, considered
from medloom.data.survey.detectors import DETECTORS
from medloom.data.survey.device import Device
from medloom.data.survey.findings import Finding, Reading
from medloom.data.survey.names import slug
from medloom.data.survey.seen import Seen
from medloom.data.survey.settings import settings_of
from medloom.data.survey.trial import Trial, Void, tried
from medloom.data.survey.weights import Weights
from medloom.errors import DataError
from medloom.wording import counted

__all__ = ["Survey", "survey"]

_MOST_TRIED = 12


@dataclass(frozen=True)
class Survey:
    """What a folder or zip holds, as a recipe with the evidence for each key.

    Args:
        name: Name for the recipe, from that of the folder.
        reading: What the files are read as, such as ``a folder for each class``.
        findings: Keys of the recipe in order.
        samples: How many images, or files of several pages.
        patients: How many patients are known; 0 where the files, or DICOM headers, are still to say.
        warnings: One sentence each, such as that no patient is known.
        notes: What else the layout says, such as how many images belong to nothing.
        considered: What else was thought of, one sentence each.
        checks: What a person should look at.
    """

    name: str
    reading: str
    findings: tuple[Finding, ...]
    samples: int
    patients: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    considered: tuple[str, ...]
    checks: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "name": self.name,
            "reading": self.reading,
            "samples": self.samples,
            "patients": self.patients,
            "findings": [vars(finding) for finding in self.findings],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "considered": list(self.considered),
            "checks": list(self.checks),
        }


def survey(
    path: str | Path,
    settings: Mapping[str, Any] | None = None,
    device: Device | None = None,
    weights: tuple[Weights, ...] = (),
) -> Survey:
    """Look at a folder or zip and work out a recipe.

    Files are listed and grouped by their names; only a small, evenly spaced sample is looked into. Nothing that is
    returned holds the name of a file or a patient.

    Args:
        path: Folder or zip.
        settings: Values by dotted key that the user gave; they decide between readings and are not looked for.
        device: What there is to train on.
        weights: What networks may begin with; ``medloom.models.here`` finds those that are on this machine.

    Returns:
        The findings.

    Raises:
        Undecided: If the files can be read in several ways that are about equally likely.
        DataError: If they cannot be read in any; says what was seen.

    Example:
        >>> survey("chest_xray.zip").samples  # doctest: +SKIP
        5856
    """
    with open_source(path) as source, _without_collector():
        return _survey(source, slug(_name(images_at(path))), dict(settings or {}), device or Device(), weights)


def _name(images: Images) -> str:
    return images.resolve().name if isinstance(images, Path) else name_of(images)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Leave cycles for later: what is made of 100,000 names lives to the end, and looking through it takes as long."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _survey(
    source: Source, name: str, settings: dict[str, Any], device: Device, weights: tuple[Weights, ...] = ()
) -> Survey:
    seen = Seen.of(source)
    if not seen.names:
        raise DataError("there are no files in it; expected images")
    readings = _readings(seen, settings)
    results = [tried(reading, seen, settings) for reading in readings]
    trials = [result for result in results if isinstance(result, Trial)]
    voids = [result for result in results if isinstance(result, Void)]
    if not trials:
        raise DataError(_not_recognised(seen), [f"{void.reading.name}: {void.reason}" for void in voids])
    if "data.layout" not in settings:
        _refuse_weaker(trials, voids)
    taken = chosen(trials)
    found = settings_of(taken, seen, device, settings, weights)
    told = tuple(Finding(key, value, "as you said") for key, value in settings.items() if key != "name")
    findings = (*taken.reading.findings, *found.findings)
    findings = (*(finding for finding in findings if finding.key not in settings), *told)
    return Survey(
        str(settings.get("name", name)),
        taken.reading.name,
        findings,
        taken.samples,
        taken.known,
        (*taken.reading.warnings, *found.warnings),
        (*found.notes, *taken.listing.notes),
        tuple(considered(trials, voids, taken)),
        tuple(f"{finding.key}: {finding.check}" for finding in findings if finding.check),
    )


def _refuse_weaker(trials: Sequence[Trial], voids: Sequence[Void]) -> None:
    """Take no weaker reading silently where a stronger one, which does not hold, is how the files seem to be meant."""
    best = max(trials, key=lambda trial: trial.reading.strength)
    stronger = [void for void in voids if void.reading.strength > best.reading.strength]
    if stronger:
        layout = best.reading.values["data.layout"]
        raise DataError(
            f"the files seem to be {stronger[0].reading.name}, and cannot be read so. If they are {best.reading.name}, "
            f"say so with --set data.layout={layout}",
            [f"{void.reading.name}: {void.reason}" for void in stronger],
        )


def _readings(seen: Seen, settings: Mapping[str, Any]) -> list[Reading]:
    """The strongest readings that the user's settings do not contradict."""
    found = [reading for detect in DETECTORS.values() for reading in detect(seen) if not reading.contradicts(settings)]
    return sorted(found, key=lambda reading: -reading.strength)[:_MOST_TRIED]


def _not_recognised(seen: Seen) -> str:
    kinds = ", ".join(f"{count:,} {suffix or 'without a suffix'}" for suffix, count in _most(seen.suffixes.items()))
    return (
        f"the files are laid out in no way that is known: {counted(len(seen.names), 'file')} ({kinds}), "
        f"{counted(len(seen.images), 'image')}, {counted(len(seen.tables), 'table')}. Write the recipe by hand: "
        "`medloom init image-mask` for images with masks, `medloom init dicom-csv` for images with a CSV of labels, "
        "`medloom init chest-xray` for a folder for each class; then say in data.layout and the keys beside it how the "
        f"files are named.{_nothing_said(seen)}"
    )


def _nothing_said(seen: Seen) -> str:
    """Say so where there are images and nothing that could be their truth."""
    if seen.images and not seen.tables and not seen.pairing.kinds:
        return " Nothing seems to say what is to be predicted: no masks, no folder for each class, no table."
    return ""


def _most(items: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(items, key=lambda item: -item[1])[:6]
