"""Finished runs, or finished models elsewhere, beside each other: on the same images, patient by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medloom import data
from medloom.errors import UserError
from medloom.evaluation import KINDS, Family, Part
from medloom.evaluation.comparison import RESAMPLES, compare_cases
from medloom.evaluation.parts import evaluation_folder
from medloom.evaluation.tables import read_cases
from medloom.files import read_json, write_json
from medloom.pipeline.elsewhere import SAMPLES
from medloom.pipeline.names import RUNS
from medloom.pipeline.runs import Run, find_run
from medloom.recipe.changes import flat
from medloom.reports.comparison import COMPARISON, write_comparison_report
from medloom.reports.elsewhere import ELSEWHERE
from medloom.targets import Target

__all__ = ["Comparison", "compare_runs"]

_PLACES = ("data.path", "split.file", "model.weights")
"""Keys that say where something lies on a machine; of the last one the name is kept."""

_CHOOSING = (
    "Whoever chooses between these by the test set makes the figures of the chosen one too good: choose with "
    "--part validation, and look at the test set once."
)
_OUTSIDE = (
    "Measured on images of another source than the models learned from. Whoever chooses between them by these figures "
    "needs others, to say how good the chosen one is."
)
_SHARED_VALIDATION = (
    "These are validation patients, by whom each run chose its best epoch and its operating point, so every figure is "
    "a little too good, of a run that tried more a little more so."
)

Facts = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What a comparison made.

    Args:
        folder: Where it was written.
        facts: As in ``comparison.json``.
        page: The report.
    """

    folder: Path
    facts: Mapping[str, Any]
    page: Path


@dataclass(frozen=True)
class _Measured:
    """A run that was measured, or a bundle that was on images of another source.

    Args:
        name: Of its folder.
        settings: What it was made with, by dotted key.
        phantom: Whether images were made up.
        summary: As in ``summary.json``.
        cases: The per-case table; each image is called by its content.
        outside: Whether the images are of another source than the model learned from.
    """

    name: str
    settings: Mapping[str, Any]
    phantom: bool
    summary: Mapping[str, Any]
    cases: pd.DataFrame
    outside: bool = False


def compare_runs(
    names: Sequence[str | Path],
    folder: Path,
    *,
    runs: Path = RUNS,
    against: str | None = None,
    part: Part = "test",
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare finished runs on the images that all of them measured, and write a page.

    A run of folds is compared with what each fold measured on its own test patients. Bundles that were measured on the
    same images of another source (``validate_elsewhere``) are compared in the same way.

    Args:
        names: Names of runs or their folders, or folders of external validations, at least two.
        folder: Where to write ``comparison.json`` and ``comparison.html``; made if it is not there.
        runs: Folder that holds the runs.
        against: Name of the one that the others are compared with; the first by default.
        part: ``test``, or ``validation`` alone.
        resamples: Resamples of the patients for intervals and p-values.

    Raises:
        UserError: If a run is missing, is not measured or predicts something else, or if they share no image.
        DataError: If their truth differs.
    """
    measured = [_read(name, runs, part) for name in names]
    _check_names(measured, against)
    reference = measured[0] if against is None else next(one for one in measured if one.name == against)
    _check_targets(measured, reference)
    over = "patients" if all(one.summary["interval"]["over"] == "patients" for one in measured) else "images"
    family = KINDS[reference.summary["target"]["kind"]](Target.from_plain(reference.summary["target"]))
    tables = {one.name: one.cases for one in measured}
    compared = compare_cases(family, tables, reference.name, resamples, over)
    facts = {
        "part": part,
        "target": reference.summary["target"],
        "phantom": any(one.phantom for one in measured),
        "notes": _notes(measured, part, compared, family),
        **compared,
        "recipes": _recipes(measured),
        "points": {one.name: one.summary["point_text"] for one in measured},
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / COMPARISON, facts)
    return Comparison(folder, facts, write_comparison_report(folder))


def _read(name: str | Path, runs: Path, part: Part) -> _Measured:
    if (Path(name) / ELSEWHERE).is_file():
        return _read_elsewhere(Path(name), part)
    run = Run.open(find_run(name, runs))
    where = evaluation_folder(run.folder, part)
    if not (where / "cases.csv").is_file():
        asked = "" if part == "test" else " --part validation"
        raise UserError(f"{run.folder} was not measured on {part}; run `medloom evaluate {name}{asked}` first")
    cases = read_cases(where / "cases.csv")
    named = _by_content(cases[cases["split"] == part], run.folder / "catalogue.csv")
    phantom = bool(run.facts("prepare.json", "prepare")["phantom"])
    return _Measured(run.folder.name, flat(run.plain()), phantom, read_json(where / "summary.json"), named)


def _read_elsewhere(folder: Path, part: Part) -> _Measured:
    """A bundle on images of another source, all of which are test images."""
    if part != "test":
        raise UserError(f"{folder} is an external validation, which has no {part} patients; leave --part out")
    if not (folder / SAMPLES).is_file():
        raise UserError(
            f"{folder} does not say which images it was measured on, because an earlier version of Medloom made it; "
            "run `medloom evaluate BUNDLE --data OTHER` again"
        )
    facts, cases = read_json(folder / ELSEWHERE), read_cases(folder / "cases.csv")
    settings = {"bundle": facts["model"], "packaged by": f"Medloom {facts['medloom']}"}
    phantom = facts["phantom"]["model"] or facts["phantom"]["images"]
    summary = read_json(folder / "summary.json")
    named = _by_content(cases, folder / SAMPLES)
    return _Measured(folder.absolute().name, settings, bool(phantom), summary, named, outside=True)


def _by_content(cases: pd.DataFrame, samples: Path) -> pd.DataFrame:
    """The cases with the image's digest as ``sample_id``: two runs may call different images by the same pseudonym."""
    if not samples.is_file():
        return cases
    known = data.read_samples(samples)
    content = known["sha256"] + "/" + known["frame"].astype(str)
    again = content.groupby(content).cumcount()  # the same image under two names
    keys = (content + "/" + again.astype(str)).where(known["sha256"] != "", known["sample_id"])
    return cases.assign(sample_id=cases["sample_id"].map(dict(zip(known["sample_id"], keys, strict=True))))


def _check_names(measured: Sequence[_Measured], against: str | None) -> None:
    names = [one.name for one in measured]
    if len(names) < 2:
        raise UserError("one run alone cannot be compared; name two or more")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{', '.join(twice)} is there twice; runs that are compared need different folder names")
    if against is not None and against not in names:
        raise UserError(f"--against {against}: it is none of the runs that are compared: {', '.join(names)}")


def _check_targets(measured: Sequence[_Measured], reference: _Measured) -> None:
    wanted = reference.summary["target"]
    for one in measured:
        found = one.summary["target"]
        if (found["kind"], found["names"]) != (wanted["kind"], wanted["names"]):
            raise UserError(
                f"{one.name} predicts {found['kind']} ({', '.join(found['names'])}), {reference.name} predicts "
                f"{wanted['kind']} ({', '.join(wanted['names'])}); only what predicts the same can be compared"
            )


def _notes(measured: Sequence[_Measured], part: Part, compared: Facts, family: Family) -> list[str]:
    """What a reader must know, the gravest first."""
    outside = all(one.outside for one in measured)
    notes = [_OUTSIDE if outside else _CHOOSING if part == "test" else _SHARED_VALIDATION]
    left = compared["counts"]["left_out"]
    if left:
        texts = ", ".join(f"{count:,} of {name}" for name, count in left.items())
        notes.append(f"Only images that all of them measured are compared; left out: {texts}.")
    if withheld := compared["withheld"]:
        labels = [family.metrics[name].label for name in withheld if name in family.metrics]
        notes.append(f"Too few cases to compare {', '.join(labels)}.")
    phantoms = [one.name for one in measured if one.phantom]
    if phantoms:
        notes.append(f"Made of phantom images: {', '.join(phantoms)}.")
    return notes


def _recipes(measured: Sequence[_Measured]) -> dict[str, dict[str, Any]]:
    """The keys in which the recipes differ, with the value of each run."""
    flats = {one.name: one.settings for one in measured}
    keys = sorted({key for values in flats.values() for key in values})
    found = {}
    for key in keys:
        values = {name: _shown(key, one.get(key)) for name, one in flats.items()}
        if key != "name" and len({repr(value) for value in values.values()}) > 1:
            found[key] = values
    return found


def _shown(key: str, value: Any) -> Any:  # noqa: ANN401 - whatever a recipe holds
    if key not in _PLACES:
        return value
    return Path(value).name if isinstance(value, str) and key == "model.weights" else None
