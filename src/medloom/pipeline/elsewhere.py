"""External validation: a bundle measured on images of another source, in one call and without a run.

Nothing is trained, fitted or chosen: the network, its preprocessing, calibration and operating point are the bundle's.
Only how the images are arranged and what their labels mean may differ from what the model learned from, and a recipe or
single settings say so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medloom import __version__, data, packaging
from medloom.data import Prepared
from medloom.data.opening import Images
from medloom.errors import MedloomError, UserError
from medloom.evaluation.elsewhere import evaluate_elsewhere
from medloom.events import Events, FileMade, StageBegun, StageEnded, Warned
from medloom.files import read_json, sha256_bytes, write_json, write_text
from medloom.inference import build_runtime
from medloom.packaging import Bundle, Manifest, Validation
from medloom.packaging.bundle import WEIGHTS
from medloom.pipeline.notices import SetAside
from medloom.pipeline.places import existing_images, stores_dir
from medloom.pipeline.problems import PROBLEMS
from medloom.recipe import Recipe, load_recipe, parse_recipe, resolve_target
from medloom.recipe.library import builtin_names
from medloom.reports.elsewhere import ELSEWHERE, write_elsewhere_report
from medloom.targets import Target
from medloom.wording import few

if TYPE_CHECKING:
    from medloom.evaluation.family import Heatmap

__all__ = ["SAMPLES", "Elsewhere", "recipe_for", "validate_elsewhere"]

SAMPLES = "samples.csv"
"""Pseudonym and digest of each image of an external validation, by which two of them are compared."""

_TOLD_BY = ("sample_id", "patient_id", "frame", "sha256")

_ARRANGING = ("target", "data")
"""Sections of a recipe that say how images are arranged and what their labels mean."""

_MEASURING = ("evaluate.bootstrap", "evaluate.batch_size")
"""Keys that change no answer."""

_PLANES = {None: "stored", "any": "auto"}
"""What ``data.plane`` is for what a bundle says of the plane of its images; a plane is itself."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Elsewhere:
    """What an external validation made.

    Args:
        folder: Where it was written.
        summary: As in ``summary.json``.
        page: Its report.
        bundle: The bundle written anew with the validation in it; None unless that was asked for.
        set_aside: What was not measured, naming files; for the user's eyes, kept nowhere.
    """

    folder: Path
    summary: Mapping[str, Any]
    page: Path
    bundle: Path | None = None
    set_aside: tuple[str, ...] = ()


def validate_elsewhere(
    bundle: str | Path,
    images: str | Images,
    folder: Path,
    *,
    recipe: str | Path | None = None,
    settings: Sequence[str] = (),
    name: str = "",
    record: Path | None = None,
    events: Events | None = None,
) -> Elsewhere:
    """Measure a bundle on images of another source, and write metrics and a report of its own.

    Args:
        bundle: A ``model.tar.gz``, or the folder that it was extracted to; it is not changed.
        images: Folder or zip with images and their labels or masks.
        folder: Where to write; made, or that of an earlier validation.
        recipe: Name of a built-in recipe or a YAML file that says how they are arranged; by default they are taken to
            be arranged as those that the model learned from.
        settings: Values of that recipe to override, such as ``data.labels.patient_pattern=(\\d+)_``.
        name: What the source is called, in the report and in ``record``; by default the name of the folder or zip.
        record: Where to write the bundle anew with the validation in its manifest and model card; None writes none.
        events: Told of progress and of what was set aside.

    Returns:
        What was made.

    Raises:
        UserError: If the recipe does not fit the bundle, or a place is not what it should be.
        DataError: Naming every file that does not fit.
    """
    events, where = events or Events(), existing_images(images)
    _check_folder(folder)
    with packaging.read_bundle(bundle) as opened:
        if record is not None:
            _check_record(record, Path(bundle))
        asked = recipe_for(opened.manifest, recipe, settings)
        events.emit(StageBegun("evaluate", folder))
        summary, aside = _measure(opened, asked, where, folder, name or data.name_of(where), events)
        facts = read_json(folder / ELSEWHERE)
        made = None if record is None else _recorded(opened, record, _validation(opened, summary, facts))
    page = write_elsewhere_report(folder)
    for path in filter(None, (page, made)):
        events.emit(FileMade(path))
    events.emit(StageEnded("evaluate", folder))
    return Elsewhere(folder, summary, page, made, aside)


def recipe_for(manifest: Manifest, recipe: str | Path | None, settings: Sequence[str]) -> Recipe:
    """Return a recipe that reads other images for a bundle: their arrangement, and everything else as packaged.

    Args:
        manifest: That of the bundle.
        recipe: Name or file of the recipe whose ``target`` and ``data`` count; None for the bundle's own.
        settings: Values to override.

    Raises:
        RecipeError: If a value is wrong.
        UserError: If a setting would change what the bundle does.
    """
    for setting in settings:
        key = setting.partition("=")[0].strip()
        if key not in _MEASURING and key.partition(".")[0] not in _ARRANGING:
            raise UserError(
                f"--set {key}: what is done to images is the bundle's; settings here are of target and data, and "
                f"{' and '.join(_MEASURING)}"
            )
    arranged, plane = _arrangement(manifest, recipe), manifest.input.plane
    kept = {"channels": list(manifest.channels), "plane": _PLANES.get(plane, plane), "context": manifest.input.context}
    values = {
        "name": manifest.name,
        "target": arranged["target"],
        "data": {**arranged["data"], **kept},
        "preprocess": _preprocess(manifest),
        "evaluate": {"views": manifest.views},
    }
    return parse_recipe(yaml.safe_dump(values, sort_keys=False), settings, of_a_run=True)


def _preprocess(manifest: Manifest) -> Facts:
    """The section of a recipe; recipes for masks have no key to crop by."""
    plain = manifest.preprocess.plain()
    return {key: value for key, value in plain.items() if key != "crop" or value is not None}


def _arrangement(manifest: Manifest, recipe: str | Path | None) -> Mapping[str, Any]:
    """The sections ``target`` and ``data`` that say how images are arranged."""
    if recipe is not None:
        return load_recipe(recipe).plain()
    if manifest.layout is not None:
        return manifest.layout
    if manifest.name in builtin_names():
        return load_recipe(manifest.name).plain()
    raise UserError(
        "the bundle does not say how the images that it learned from were arranged, so those of --data need a recipe: "
        "--recipe FILE, whose sections target and data count"
    )


def _measure(
    bundle: Bundle, recipe: Recipe, where: Images, folder: Path, name: str, events: Events
) -> tuple[Facts, tuple[str, ...]]:
    """Read and measure every image, and write what the report needs beside the metrics; also what was set aside."""
    manifest = bundle.manifest
    with data.open_source(where) as source:
        prepared = data.prepare_undivided(
            recipe,
            source,
            stores_dir(),
            workers=os.cpu_count() or 1,
            preprocess=manifest.preprocess,
            progress=events.progress("prepare"),
        )
        _check_target(prepared.target, manifest.target)
        _tell(prepared, events)
        known = prepared.facts["patient_source"]["status"] == "known"
        summary = evaluate_elsewhere(
            resolve_target(recipe, prepared.target),
            prepared.catalogue,
            source,
            bundle.predictor(),
            folder,
            internal=manifest.internal_metrics(),
            over="patients" if known else "images",
            heatmap=_heatmap(bundle),
            measured_with={"runtime": manifest.runtime, "precision": manifest.computed_in()},
            progress=events.progress("evaluate"),
        )
    samples = prepared.catalogue[list(_TOLD_BY)]
    write_text(folder / SAMPLES, samples.to_csv(index=False, lineterminator="\n"))
    write_json(folder / ELSEWHERE, _facts(prepared, manifest, name))
    return summary, prepared.set_aside


def _facts(prepared: Prepared, manifest: Manifest, name: str) -> Facts:
    """What the report says of the images and of the model beside the metrics."""
    facts = prepared.facts
    return {
        "name": name,
        "model": manifest.name,
        "medloom": manifest.medloom,
        "phantom": {"model": manifest.phantom, "images": facts["phantom"]},
        "internal": {"part": manifest.measured.part, "note": manifest.measured.note} if manifest.measured else {},
        "fingerprint": _fingerprint(prepared),
        "warnings": facts["warnings"],
        "demographics": facts["demographics"],
        "counts": facts["counts"]["test"],
        **{key: facts[key] for key in ("found", "used", "set_aside", "dropped")},
    }


def _fingerprint(prepared: Prepared) -> str:
    """Of the images and their truth, in their order; no name goes in."""
    columns = prepared.catalogue.loc[:, ["sha256", "frame", "labels", "foreground_px"]]
    return sha256_bytes(columns.to_csv(index=False).encode())


def _tell(prepared: Prepared, events: Events) -> None:
    shown = few(prepared.set_aside)
    for text in shown:
        events.emit(SetAside(text))
    if len(shown) < len(prepared.set_aside):
        events.emit(SetAside(f"and {len(prepared.set_aside) - len(shown):,} more"))
    for text in prepared.facts["warnings"]:
        events.emit(Warned(text))


def _check_target(found: Target, wanted: Target) -> None:
    """Refuse other classes, or the same in another order: they would be compared with each other."""
    wanted.check_kind(found.kind)
    if found.names != wanted.names:
        raise UserError(
            f"the labels are {', '.join(found.names)}; the bundle predicts {', '.join(wanted.names)}, in this order. "
            "Name them so with --set target.classes=[...], target.columns or target.mask_values, or in a --recipe"
        )


def _check_folder(folder: Path) -> None:
    others = [path for path in folder.iterdir() if path.name != PROBLEMS] if folder.is_dir() else []
    if folder.is_file() or (others and not (folder / ELSEWHERE).is_file()):
        raise UserError(f"-o {folder}: it is there, it is not empty and it is no external validation; choose another")


def _check_record(record: Path, bundle: Path) -> None:
    if record.exists():
        what = "is the bundle itself" if record.resolve() == bundle.resolve() else "is there"
        raise UserError(f"--record {record} {what}; name a new file, such as validated/model.tar.gz")


def _heatmap(bundle: Bundle) -> Heatmap | None:
    """What shows where the network looked; None where torch is not installed or the network cannot be built here."""
    if find_spec("torch") is None:
        return None
    try:
        runtime = build_runtime("torch", bundle.folder / WEIGHTS, network=bundle.manifest.network())
    except MedloomError:  # the metrics do not need it
        return None
    found: Heatmap | None = getattr(runtime, "heatmap", None)
    return found


def _recorded(bundle: Bundle, record: Path, validation: Validation) -> Path:
    record.parent.mkdir(parents=True, exist_ok=True)
    return packaging.write_validated(bundle, record, validation)


def _validation(bundle: Bundle, summary: Facts, facts: Facts) -> Validation:
    """What the bundle written anew says of it: the headlines alone."""
    test = summary["test"]
    return Validation(
        name=facts["name"],
        fingerprint=facts["fingerprint"],
        counts={key: test["counts"][key] for key in ("images", "patients")},
        metrics={key: test["metrics"][key] for key in summary["headlines"] if key in test["metrics"]},
        runtime=bundle.manifest.runtime,
        precision=bundle.manifest.computed_in(),
        medloom=__version__,
    )
