"""The first stage: list, check, decode, split, audit, describe."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from medloom.data.accounting import accounting, concerns, division
from medloom.data.audit import audit_leakage
from medloom.data.building import build_store
from medloom.data.catalogue import join_files, join_labels, join_meta, write_catalogue
from medloom.data.checks import check_quarantine
from medloom.data.conflicts import label_conflicts
from medloom.data.demographics import demographics
from medloom.data.describe import Preview, describe
from medloom.data.kinds import KINDS
from medloom.data.layouts import Layout, Listing, Problem, build_layout
from medloom.data.normalised import normalised_warnings
from medloom.data.orientation import orientation_facts, plane_warnings
from medloom.data.pages import spoken_pages, with_pages
from medloom.data.patients import Patients, patients_of
from medloom.data.phantom import PHANTOM_FILE
from medloom.data.pseudonyms import Entry, with_pseudonyms
from medloom.data.sample import Sample
from medloom.data.series import Chosen, of_series
from medloom.data.sources import Source, unread_files
from medloom.data.spacing import spacing_facts, spacing_warnings
from medloom.data.splits import (
    UNKNOWN,
    Before,
    SplitRule,
    as_listed,
    read_given_split,
    split_as_published,
    split_warnings,
)
from medloom.data.stacks import with_context
from medloom.data.store import PixelStore
from medloom.data.truth import Truth
from medloom.data.workers import expect_workers
from medloom.errors import DataError, RecipeError
from medloom.files import sha256_file, write_json
from medloom.imaging.canonical import Orientation, Plane
from medloom.recipe import Recipe
from medloom.targets import Target
from medloom.transforms import Preprocess
from medloom.wording import counted

__all__ = ["Prepared", "prepare", "prepare_undivided", "recounted", "rule_facts"]

Progress = Callable[[int, int], None]

_WHILE_DIVIDING = ("given_split", "published", "stratum", "kept", "kept_out", "kept_split", "known")
"""Columns that the catalogue has only until its samples are divided."""


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` made.

    Args:
        catalogue: One row a usable sample.
        store: Their pixels.
        target: What is predicted, as the recipe says or as was found, for ``resolve_target``.
        facts: As in ``prepare.json``.
        set_aside: One line for each problem of the samples that were set aside, naming the file; for the user's
            eyes, kept nowhere.
    """

    catalogue: pd.DataFrame
    store: PixelStore
    target: Target
    facts: dict[str, Any]
    set_aside: tuple[str, ...]


@dataclass(frozen=True)
class _Division:
    """The catalogue with its split, how many samples it left out, what the report must say, and facts on context."""

    catalogue: pd.DataFrame
    dropped: int
    warnings: list[str]
    context: dict[str, Any] = field(default_factory=dict)


def prepare(
    recipe: Recipe,
    source: Source,
    run_dir: Path,
    cache_dir: Path,
    *,
    workers: int,
    preprocess: Preprocess,
    before: Before = UNKNOWN,
    preview: Callable[[PixelStore], Preview] | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Check, split and store a data set.

    Writes ``catalogue.csv``, ``prepare.json`` and ``data_report/`` into the run directory and the pixel store
    into the cache, where a later call finds it again as long as the files and the preprocessing are the same.

    Args:
        recipe: Says how the files are arranged, checked, split and preprocessed.
        source: The files.
        run_dir: The run directory.
        cache_dir: Folder that holds the stores.
        workers: Processes that decode.
        preprocess: Resizing and normalisation.
        before: What was prepared by the same rule of the split, whose patients stay in their parts.
        preview: Makes, of a store, what shows augmented views of one of its rows, for the data report.
        progress: Called with samples done and samples in all.

    Returns:
        Catalogue, store and facts.

    Raises:
        DataError: Naming every file that does not fit, if the recipe's policy does not let them pass; naming
            every patient that is in more than one split.
    """
    begun_s = time.perf_counter()
    _check_channels(recipe)
    chosen = _chosen(recipe, source, workers)
    layout = build_layout(recipe)
    listed, whose = patients_of(_found(layout, recipe, chosen.names, source), source)
    listing, cut = with_pages(listed, recipe.data.page, source, cache_dir, recipe.data.plane)
    entries = _entries(listing, layout, recipe.data.layout, chosen.names)
    target = listing.target or recipe.predicts()
    truth = KINDS[target.kind]
    given = read_given_split(Path(recipe.split.file)) if recipe.split.file else {}
    build = partial(build_store, recipe, source, layout, entries, cache_dir, cut=cut)
    store, samples, reused = build(preprocess=preprocess, workers=workers, progress=progress)
    problems, oriented = _judged(recipe, listing, entries, samples), orientation_facts(recipe.data.plane, samples)
    divided = _divided(_frame(entries, samples, given), recipe, target, truth, before)
    divided = _beside(divided, entries, source, recipe, cut, oriented["plane"])
    catalogue = _written(divided, run_dir)
    facts = {
        "phantom": PHANTOM_FILE in chosen.names,
        "target": target.plain(),
        **division(divided.catalogue, target, truth),
        **_people(divided.catalogue, whose, recipe),
        **accounting(listing, samples, divided.dropped),
        "orientation": {**oriented, "spacing_mm": spacing_facts(samples)},
        **divided.context,
        "audit": _audit(divided.catalogue, store, recipe),
        "conflicts": label_conflicts(catalogue, store, truth),
        "catalogue_sha256": sha256_file(run_dir / "catalogue.csv"),
        "store": _store_facts(store, reused),
    }
    _describe(catalogue, store, run_dir, recipe, target, preview)
    said = [*chosen.notes, *listing.notes, *unread_files(chosen.names), *whose.warnings]
    said += [*concerns(entries, samples, given), *_geometry(recipe, samples), *divided.warnings]
    said += _stored_warnings(recipe, catalogue, store, target)
    facts["warnings"] = [*said, *facts["conflicts"]["warnings"], *facts["audit"]["warnings"]]
    facts |= _speed(len(samples), time.perf_counter() - begun_s)
    write_json(run_dir / "prepare.json", facts)
    return Prepared(catalogue, store, target, facts, problems)


def _chosen(recipe: Recipe, source: Source, workers: int) -> Chosen:
    """The files that count; processes that are to read them begin to start."""
    names = source.names()
    expect_workers(workers, len(names))
    return of_series(names, source.read, recipe.data.series)


def prepare_undivided(
    recipe: Recipe,
    source: Source,
    cache_dir: Path,
    *,
    workers: int,
    preprocess: Preprocess,
    progress: Progress | None = None,
) -> Prepared:
    """Check and store a data set of which every sample is tested: nothing is divided and nothing learned from it.

    Args:
        recipe: Says how the files are arranged, checked and preprocessed; its split does not count.
        source: The files.
        cache_dir: Folder that holds the stores.
        workers: Processes that decode.
        preprocess: Resizing and normalisation.
        progress: Called with samples done and samples in all.

    Returns:
        Catalogue, store and facts; nothing is written but the store.

    Raises:
        DataError: Naming every file that does not fit, if the recipe's policy does not let them pass.
    """
    _check_channels(recipe)
    chosen = _chosen(recipe, source, workers)
    layout = build_layout(recipe)
    listed, whose = patients_of(layout.find(chosen.names, source.read), source)
    listing, cut = with_pages(listed, recipe.data.page, source, cache_dir, recipe.data.plane)
    entries = _entries(listing, layout, recipe.data.layout, chosen.names)
    build = partial(build_store, recipe, source, layout, entries, cache_dir, cut=cut)
    store, samples, _ = build(preprocess=preprocess, workers=workers, progress=progress)
    problems = _judged(recipe, listing, entries, samples)
    frame, plane = _frame(entries, samples, {}), orientation_facts(recipe.data.plane, samples)["plane"]
    whole = _Division(frame.assign(split="test", fold=-1), 0, [])
    found = _beside(whole, entries, source, recipe, cut, plane)
    divided, target = found.catalogue, listing.target or recipe.predicts()
    said = [*chosen.notes, *listing.notes, *unread_files(chosen.names), *whose.warnings]
    said += [*concerns(entries, samples, {}), *_geometry(recipe, samples), *found.warnings]
    facts = {
        "phantom": PHANTOM_FILE in chosen.names,
        "target": target.plain(),
        **division(divided, target, KINDS[target.kind]),
        **_people(divided, whose, recipe),
        **accounting(listing, samples, 0),
        "warnings": [*said, *_stored_warnings(recipe, divided, store, target)],
    }
    catalogue = divided.drop(columns=list(_WHILE_DIVIDING), errors="ignore")
    return Prepared(catalogue, store, target, facts, problems)


def _found(layout: Layout, recipe: Recipe, names: list[str], source: Source) -> Listing:
    """What the layout finds, with the parts of a split that is published in lists."""
    return as_listed(layout.find(names, source.read), recipe.split.lists, names, source.read)


def _written(divided: _Division, run_dir: Path) -> pd.DataFrame:
    """Write the catalogue and return it."""
    catalogue = divided.catalogue.drop(columns=list(_WHILE_DIVIDING), errors="ignore")
    write_catalogue(catalogue, run_dir / "catalogue.csv")
    return catalogue


def _describe(
    catalogue: pd.DataFrame,
    store: PixelStore,
    run_dir: Path,
    recipe: Recipe,
    target: Target,
    preview: Callable[[PixelStore], Preview] | None,
) -> None:
    """Write the facts and pictures of the data report."""
    shown, channels = preview(store) if preview else None, recipe.data.channels
    describe(catalogue, store, run_dir, channels=channels, target=target, truth=KINDS[target.kind], preview=shown)


def _people(catalogue: pd.DataFrame, whose: Patients, recipe: Recipe) -> dict[str, Any]:
    """Who the patients are, what says so, by which rule they were divided, and who said what they have."""
    return {
        "origin": recipe.data.origin.plain(),
        "patient_source": whose.facts(catalogue, by_sample=recipe.split.by == "sample"),
        "split": rule_facts(recipe),
        "demographics": demographics(catalogue, known=bool(catalogue["known"].all())),
    }


def _stored_warnings(recipe: Recipe, catalogue: pd.DataFrame, store: PixelStore, target: Target) -> list[str]:
    values = normalised_warnings(catalogue, store, recipe.data.channels, recipe.preprocess.normalise.method)
    return [*KINDS[target.kind].stored_warnings(catalogue, store, target), *values]


def _geometry(recipe: Recipe, samples: Sequence[Sample]) -> list[str]:
    return [*plane_warnings(samples), *spacing_warnings(samples, recipe.preprocess.spacing)]


def _speed(images: int, seconds: float) -> dict[str, float]:
    return {"seconds": round(seconds, 3), "images_per_s": round(images / seconds, 1)}


def recounted(catalogue: pd.DataFrame, target: Target, status: str) -> dict[str, Any]:
    """Return ``counts`` and ``patients`` of ``prepare.json`` for some of the samples that were prepared.

    Args:
        catalogue: The samples, with their parts.
        target: What is predicted.
        status: Whether their patients are known, as ``patient_source`` says; only where all are, patients are counted.
    """
    return division(catalogue.assign(known=status == "known"), target, KINDS[target.kind])


def rule_facts(recipe: Recipe) -> dict[str, Any]:
    """Return the rule by which a recipe divides samples; the folds of a run have the same."""
    rule = recipe.split.model_dump(mode="json", exclude={"fold", "keep", "lists"})
    lists = {"lists": sorted(recipe.split.lists)} if recipe.split.lists else {}
    return {**rule, "file": rule["file"] is not None, **lists}  # paths may say whose data these are


def _audit(divided: pd.DataFrame, store: PixelStore, recipe: Recipe) -> dict[str, Any]:
    by_sample, known = recipe.split.by == "sample", bool(divided["known"].all())
    return audit_leakage(divided, store, by_sample=by_sample, known=known)


def _entries(listing: Listing, layout: Layout, name: str, files: Collection[str]) -> list[Entry]:
    if listing.items:
        return with_pseudonyms(listing.items)
    expected = f"the layout {name} expects {layout.expects()}"
    raise DataError(
        f"no sample found among {counted(len(files), 'file')}; {expected}",
        [*unread_files(files), *(str(problem) for problem in listing.problems)],
    )


def _judged(recipe: Recipe, listing: Listing, entries: Sequence[Entry], samples: Sequence[Sample]) -> tuple[str, ...]:
    """Every problem with its file, if the recipe's policy lets them pass."""
    flawed = [(entry, sample) for entry, sample in zip(entries, samples, strict=True) if sample.flaws]
    problems = tuple(str(problem) for problem in (*listing.problems, *_problems(flawed)))
    refused = [pair for pair in flawed if not _is_ignored(pair[1])]
    bad = [str(problem) for problem in (*listing.problems, *_problems(refused))]
    total = len(entries) + len(listing.problems)
    count = len(listing.problems) + len(refused)
    check_quarantine(bad, count, total, recipe.data.policy, recipe.data.quarantine_limit)
    if len(listing.problems) + len(flawed) == total:
        raise DataError(f"none of {counted(total, 'sample')} can be used", problems)
    return problems


def _is_ignored(sample: Sample) -> bool:
    """Whether nothing is wrong with a sample but that none of its pixels counts: no mistake, and of no use."""
    return all(flaw.kind == "ignored" for flaw in sample.flaws)


def _problems(flawed: Iterable[tuple[Entry, Sample]]) -> Iterator[Problem]:
    """What is wrong with each file; what is wrong with many pages of one file is said once."""
    pages: dict[Problem, list[int | None]] = {}
    for entry, sample in flawed:
        for problem in sample.problems(entry):
            pages.setdefault(problem, []).append(entry.item.page)
    for problem, found in pages.items():
        numbers = [page for page in found if page is not None]
        said = f"{spoken_pages(numbers)}: " if numbers else ""
        yield replace(problem, detail=said + problem.detail)


def _frame(entries: Sequence[Entry], samples: Sequence[Sample], given: Mapping[str, str]) -> pd.DataFrame:
    """The catalogue before the split: a row for each sample that can be used."""
    rows = [
        {
            "sample_id": entry.sample_id,
            "patient_id": entry.patient_id,
            "image": join_files(entry.item.images),
            "frame": entry.item.page or 0,
            "mask": join_files(entry.item.masks or ("",)),
            "height": sample.height,
            "width": sample.width,
            "channels": sample.channels,
            "dtype": sample.dtype,
            "sha256": sample.sha256,
            "foreground_px": sample.foreground_px,
            "labels": join_labels(entry.item.labels),
            "meta": join_meta(entry.item.meta),
            "published": entry.item.published,
            "given_split": given.get(entry.item.patient, ""),
            "known": entry.item.known,
        }
        for entry, sample in zip(entries, samples, strict=True)
        if not sample.flaws
    ]
    return pd.DataFrame(rows)


def _divided(frame: pd.DataFrame, recipe: Recipe, target: Target, truth: Truth, before: Before) -> _Division:
    """Decide who trains, validates and tests."""
    strata = truth.strata(frame)
    whole = frame if strata is None else frame.assign(stratum=strata)
    rule = SplitRule.of(recipe.split)
    whole = before.kept(whole, folds=rule.folds is not None)
    divided, dropped, notes = split_as_published(whole, rule)
    warnings = [*notes, *split_warnings(rule), *truth.warnings(divided, target)]
    return _Division(divided.reset_index(drop=True), len(dropped), warnings)


def _beside(
    divided: _Division,
    entries: Sequence[Entry],
    source: Source,
    recipe: Recipe,
    cut: Plane | None,
    plane: Orientation | None,
) -> _Division:
    """Find the slices beside each, where the network is to see them."""
    found = with_context(divided.catalogue, entries, source, recipe.data.context, cut=cut, orientation=plane)
    warnings = [*divided.warnings, *found.warnings]
    return replace(divided, catalogue=found.catalogue, warnings=warnings, context=found.facts)


def _check_channels(recipe: Recipe) -> None:
    """Refuse names of channels that cannot be those after the conversion of colours, before any file is read."""
    count = {"grey": 1, "rgb": 3}.get(recipe.preprocess.colour)
    if count is not None and len(recipe.data.channels) != count:
        raise RecipeError(
            f"data.channels: preprocess.colour={recipe.preprocess.colour} makes {count} of them; "
            f"got {', '.join(recipe.data.channels)}"
        )


def _store_facts(store: PixelStore, reused: bool) -> dict[str, Any]:
    return {
        "key": store.key,
        "bytes": store.nbytes,
        "shape": list(store.images.shape),
        "dtype": store.images.dtype.name,
        "reused": reused,
    }
