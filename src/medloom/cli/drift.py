"""``medloom drift``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medloom.cli.options import JsonOption
from medloom.cli.output import ExitCode, print_result, warn
from medloom.cli.verify import BundleArgument, RuntimeOption
from medloom.errors import DataError, UserError
from medloom.wording import few

if TYPE_CHECKING:
    from medloom.inference import Predictor
    from medloom.inference.placing import Placed

__all__ = ["command"]

_MOST_NAMED = 10

_Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images, folders and zips.")]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="PAGE.html", help="Write a report there, and beside it its figures."),
]
_Skip = Annotated[
    list[str] | None,
    typer.Option("--skip", metavar="GLOB", help="Names in folders and zips to leave out [default: *_mask.*]."),
]
_Page = Annotated[int | None, typer.Option("--page", min=0, help="Page of files that have several, from 0.")]
_Pattern = Annotated[
    str | None,
    typer.Option("--patient-pattern", metavar="REGEX", help="Finds the patient in a file's name, as its first group."),
]


def command(
    bundle: BundleArgument,
    paths: _Paths,
    output: _Output = None,
    skip: _Skip = None,
    page: _Page = None,
    patient_pattern: _Pattern = None,
    runtime: RuntimeOption = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Threads; default: all cores.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether images are like those of the training.

    Each image is compared with the fingerprint in the bundle, and all of them together: 23 measures and what the
    network makes of them. Tests take one image of each patient, as --patient-pattern finds them in names (or the file
    of a volume); without it each file counts as a patient of its own, and several of one make p-values too small.

    The exit code is 0 where nothing shows a difference, 4 where the images are others than those of the training, and 3
    where a file could not be read and nothing else was found. Reports and JSON name images by a hash of their name.
    """
    from medloom.packaging import read_bundle

    find = _compiled(patient_pattern)
    with read_bundle(bundle) as opened:
        manifest, predictor = opened.manifest, opened.predictor(runtime=runtime, threads=threads)
    if predictor.fingerprint is None:
        raise UserError(
            "this bundle holds no fingerprint of its training images: it was made by an earlier version, with "
            "package.fingerprint: false, or from too few images; evaluate and package the run again"
        )
    placed = _placed(predictor, paths, skip, manifest.input.page if page is None else page)
    facts = _facts(predictor, manifest.name, placed, find, phantom=manifest.phantom)
    if output is not None:
        from medloom.reports import write_drift_report

        write_drift_report(output, facts)
    _report(facts, placed, output, as_json=as_json)


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise UserError(f"--patient-pattern: {pattern!r} is no regular expression ({error})") from error


def _placed(predictor: Predictor, paths: Sequence[Path], skip: list[str] | None, page: int | None) -> list[Placed]:
    from medloom.cli.display import progress
    from medloom.imaging import FILE_BUDGET
    from medloom.inference.inputs import open_images
    from medloom.inference.placing import place_files

    with open_images(paths, skip if skip is not None else ["*_mask.*"]) as images, progress("drift") as update:
        if not images:
            raise DataError("there are no images in " + ", ".join(map(str, paths)))
        placed, names = list[Any](), set[str]()
        for one in place_files(replace(predictor, budget=FILE_BUDGET), images, page=page):
            placed.append(one)
            names.add(one.name)
            update(min(len(names), len(images)), len(images))
    return placed


def _facts(
    predictor: Predictor, name: str, placed: Sequence[Placed], find: re.Pattern[str] | None, *, phantom: bool
) -> dict[str, Any]:
    """Everything that was found, without the name of any file."""
    from medloom.inference.comparison import compare
    from medloom.inference.fingerprint import FALSE_ALARMS
    from medloom.inference.placing import hashed

    fingerprint = predictor.fingerprint
    known = [(one, one.novelty) for one in placed if one.novelty is not None]
    if not known or fingerprint is None:
        errors = [f"{one.name}: {one.error}" for one in placed]
        raise DataError("none of the images can be compared: " + "; ".join(errors[:3]))
    patients = [_patient(one.name, find) for one, _ in known]
    flagged = sorted((pair for pair in known if pair[1].flagged), key=lambda pair: -pair[1].score)
    return {
        "model": name,
        "phantom": phantom,
        "training_images": fingerprint.images,
        "held_out": fingerprint.held_out,
        "wanted": FALSE_ALARMS,
        "patients_known": find is not None,
        **compare(fingerprint, [novelty for _, novelty in known], patients).plain(),
        "scores": [round(novelty.score, 4) for _, novelty in known],
        "flagged_images": [
            {
                "image": hashed(one.name),
                "slice": one.slice,
                "score": round(novelty.score, 4),
                "why": "; ".join(novelty.warnings),
            }
            for one, novelty in flagged
        ],
        "set_aside": [hashed(one.name) for one in placed if one.novelty is None],
    }


def _patient(name: str, find: re.Pattern[str] | None) -> str:
    """Whose a file is: what the pattern finds in its name; else, as for a volume, that of the file itself."""
    found = None if find is None else find.search(name)
    return name if found is None else found.group(1) if found.re.groups else found.group()


def _report(facts: dict[str, Any], placed: Sequence[Placed], output: Path | None, *, as_json: bool) -> None:
    from medloom.reports.drift_report import drift_sentences

    for text in few([f"{one.name}: {one.error}" for one in placed if one.novelty is None]):
        warn(text)
    known = [(one.novelty, one.name) for one in placed if one.novelty is not None and one.novelty.flagged]
    worst = sorted(known, key=lambda pair: -pair[0].score)[:_MOST_NAMED]
    lines = [*drift_sentences(facts), *(f"  {name}: score {novelty.score:.2f}" for novelty, name in worst)]
    lines += ["Differs by more than chance: " + ", ".join(facts["findings"])] if facts["findings"] else []
    lines += [f"Report: {output}"] if output else []
    print_result(facts, "\n".join(lines), as_json=as_json)
    if facts["drift"]:
        raise typer.Exit(ExitCode.DRIFT)
    if facts["set_aside"]:
        raise typer.Exit(ExitCode.SET_ASIDE)
