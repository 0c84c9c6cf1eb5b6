"""The first stage: list, check, decode, split, audit, describe."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from medloom.data.audit import audit_leakage
from medloom.data.building import Sample, build_store
from medloom.data.catalogue import join_files, write_catalogue
from medloom.data.checks import check_quarantine
from medloom.data.describe import Preview, describe
from medloom.data.layouts import Listing, build_layout
from medloom.data.phantom import PHANTOM_FILE
from medloom.data.pseudonyms import Entry, with_pseudonyms
from medloom.data.sources import Source
from medloom.data.splits import SPLITS, read_given_split, split_patients, split_warnings
from medloom.data.store import PixelStore
from medloom.errors import DataError
from medloom.files import sha256_file, write_json
from medloom.recipe import Recipe
from medloom.transforms import Preprocess

__all__ = ["Prepared", "prepare"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` made.

    Args:
        catalogue: One row a usable sample.
        store: Their pixels.
        facts: As in ``prepare.json``.
        set_aside: One line for each problem of the samples that were set aside, naming the file; for the user's
            eyes, kept nowhere.
    """

    catalogue: pd.DataFrame
    store: PixelStore
    facts: dict[str, Any]
    set_aside: tuple[str, ...]


def prepare(
    recipe: Recipe,
    source: Source,
    run_dir: Path,
    cache_dir: Path,
    *,
    workers: int,
    preprocess: Preprocess,
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
        preview: Makes, of a store, what shows augmented views of one of its rows, for the data report.
        progress: Called with samples done and samples in all.

    Returns:
        Catalogue, store and facts.

    Raises:
        DataError: Naming every file that does not fit, if the recipe's policy does not let them pass; naming
            every patient that is in more than one split.
    """
    begun_s = time.perf_counter()
    names = source.names()
    layout = build_layout(recipe.data)
    listing = layout.find(names)
    entries = _entries(listing, recipe, len(names))
    given = read_given_split(Path(recipe.split.file)) if recipe.split.file else {}
    store, samples, reused = build_store(
        recipe, source, layout, entries, cache_dir, preprocess=preprocess, workers=workers, progress=progress
    )
    problems = _judged(recipe, listing, entries, samples)
    catalogue = split_patients(_frame(entries, samples, recipe.data.page or 0, given), recipe.split)
    catalogue = catalogue.drop(columns="given_split")
    write_catalogue(catalogue, run_dir / "catalogue.csv")
    facts = {
        "phantom": PHANTOM_FILE in names,
        **_counts(catalogue),
        **_accounting(listing, samples),
        "audit": audit_leakage(catalogue, store, by_sample=recipe.split.by == "sample"),
        "catalogue_sha256": sha256_file(run_dir / "catalogue.csv"),
        "store": _store_facts(store, reused),
    }
    describe(catalogue, store, run_dir, channels=recipe.data.channels, preview=preview(store) if preview else None)
    concerns = [*listing.notes, *_concerns(entries, samples, given)]
    facts["warnings"] = [*concerns, *split_warnings(catalogue, recipe.split), *facts["audit"]["warnings"]]
    seconds = time.perf_counter() - begun_s
    facts |= {"seconds": round(seconds, 3), "images_per_s": round(len(samples) / seconds, 1)}
    write_json(run_dir / "prepare.json", facts)
    return Prepared(catalogue, store, facts, problems)


def _entries(listing: Listing, recipe: Recipe, files: int) -> list[Entry]:
    if listing.items:
        return with_pseudonyms(listing.items)
    expected = "<patient>/<slice>.tif with <slice>_mask.tif beside it"
    if recipe.data.layout == "image-mask":
        expected = f"images like {recipe.data.image} with masks like {recipe.data.mask}"
    raise DataError(
        f"no sample found among {files} files; the layout {recipe.data.layout} expects {expected}",
        [str(problem) for problem in listing.problems],
    )


def _judged(recipe: Recipe, listing: Listing, entries: Sequence[Entry], samples: Sequence[Sample]) -> tuple[str, ...]:
    """Every problem with its file, if the recipe's policy lets them pass."""
    flawed = [(entry, sample) for entry, sample in zip(entries, samples, strict=True) if sample.flaws]
    found = [*listing.problems, *chain.from_iterable(sample.problems(entry) for entry, sample in flawed)]
    problems = tuple(str(problem) for problem in found)
    bad, total = len(listing.problems) + len(flawed), len(entries) + len(listing.problems)
    check_quarantine(problems, bad, total, recipe.data)
    if bad == total:
        raise DataError(f"none of {total} samples can be used", problems)
    return problems


def _frame(entries: Sequence[Entry], samples: Sequence[Sample], page: int, given: Mapping[str, str]) -> pd.DataFrame:
    """The catalogue before the split: a row for each sample that can be used."""
    rows = [
        {
            "sample_id": entry.sample_id,
            "patient_id": entry.patient_id,
            "image": join_files(entry.item.images),
            "frame": page,
            "mask": entry.item.mask,
            "height": sample.height,
            "width": sample.width,
            "channels": sample.channels,
            "dtype": sample.dtype,
            "sha256": sample.sha256,
            "lesion_px": sample.lesion_px,
            "given_split": given.get(entry.item.patient, ""),
        }
        for entry, sample in zip(entries, samples, strict=True)
        if not sample.flaws
    ]
    return pd.DataFrame(rows)


def _concerns(entries: Sequence[Entry], samples: Sequence[Sample], given: Mapping[str, str]) -> list[str]:
    """What a user should know and what sets nothing aside."""
    concerns = []
    dtypes = Counter(sample.dtype for sample in samples if sample.dtype)
    if len(dtypes) > 1:
        counts = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.most_common())
        concerns.append(f"The images do not all have the same dtype: {counts}.")
    unknown = len(given.keys() - {entry.item.patient for entry in entries})
    if unknown:
        concerns.append(f"{unknown} patient(s) in split.file are not in the data.")
    return concerns


def _counts(catalogue: pd.DataFrame) -> dict[str, Any]:
    """Counts for each split and each patient."""
    table = catalogue.assign(lesion=catalogue["lesion_px"] > 0)
    counts = {}
    for split in SPLITS:
        part = table[table["split"] == split]
        counts[split] = {
            "patients": int(part["patient_id"].nunique()),
            "samples": len(part),
            "lesion_samples": int(part["lesion"].sum()),
            "lesion_share": round(float(part["lesion"].mean()), 4) if len(part) else 0.0,
        }
    patients = [
        {
            "patient_id": str(name),
            "split": group["split"].iloc[0],
            "samples": len(group),
            "lesions": int(group["lesion"].sum()),
        }
        for name, group in table.groupby("patient_id")
    ]
    return {"counts": counts, "patients": patients}


def _accounting(listing: Listing, samples: Sequence[Sample]) -> dict[str, Any]:
    """How many samples were found, used and set aside, and why; no file is named."""
    reasons = Counter(problem.kind for problem in listing.problems)
    # A sample with several flaws counts once, by the first of them.
    reasons.update(sample.flaws[0].kind for sample in samples if sample.flaws)
    found = len(samples) + len(listing.problems)
    aside = [{"reason": reason, "count": count} for reason, count in sorted(reasons.items())]
    return {"found": found, "used": found - reasons.total(), "set_aside": aside}


def _store_facts(store: PixelStore, reused: bool) -> dict[str, Any]:
    return {
        "path": str(store.path),
        "key": store.key,
        "bytes": store.nbytes,
        "shape": list(store.images.shape),
        "dtype": store.images.dtype.name,
        "reused": reused,
    }
