"""Counts of a preparation: what was found, used and set aside, and how it is divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from medloom.data.alignment import is_unplaced
from medloom.data.layouts import Listing
from medloom.data.pseudonyms import Entry
from medloom.data.sample import Sample
from medloom.data.segments import LEFT_OUT
from medloom.data.splits.given import parts_in
from medloom.data.truth import Truth
from medloom.targets import Target
from medloom.wording import counted

__all__ = ["accounting", "concerns", "division"]

_NOTES = 20


def division(catalogue: pd.DataFrame, target: Target, truth: Truth) -> dict[str, Any]:
    """Return counts for each split, with those of the truth, and for each patient.

    Args:
        catalogue: With ``known``, whether it is known whose a sample is; ``patients`` counts only those who are, and is
            None where nobody is.
        target: What is predicted.
        truth: What is known of it.
    """
    counts, nobody = {}, not catalogue["known"].any()
    for split in parts_in(catalogue["split"]):
        part = catalogue[catalogue["split"] == split]
        patients = None if nobody else int(part.loc[part["known"], "patient_id"].nunique())
        counts[split] = {"patients": patients, "samples": len(part), **truth.counts(part, target)}
        if not nobody and not catalogue["known"].all():
            counts[split]["without_patient"] = int((~part["known"]).sum())
    patients_facts = [
        {
            "patient_id": str(name),
            "split": group["split"].iloc[0],
            "samples": len(group),
            "foreground_samples": int((group["foreground_px"] > 0).sum()),
        }
        for name, group in catalogue.groupby("patient_id")
    ]
    return {"counts": counts, "patients": patients_facts}


def accounting(listing: Listing, samples: Sequence[Sample], dropped: int) -> dict[str, Any]:
    """Return how many samples were found, used, set aside and dropped, and why; no file is named.

    Args:
        listing: What the layout found.
        samples: What was found out about each of its items.
        dropped: Samples that the repair of a published split left out.
    """
    reasons = Counter(problem.kind for problem in listing.problems)
    # A sample with several flaws counts once, by the first of them.
    reasons.update(sample.flaws[0].kind for sample in samples if sample.flaws)
    found = len(samples) + len(listing.problems)
    aside = [{"reason": reason, "count": count} for reason, count in sorted(reasons.items())]
    repaired = [{"reason": "shared_patient", "count": dropped}] if dropped else []
    counts = {"found": found, "used": found - reasons.total() - dropped, "set_aside": aside, "dropped": repaired}
    return {**counts, "decoding": _decoding(samples)}


def _decoding(samples: Sequence[Sample]) -> dict[str, list[dict[str, Any]]]:
    """Return how often decoding did what a careful reader should know, the most frequent first."""
    notes = {
        "images": Counter(note for sample in samples for note in sample.notes),
        "masks": Counter(note for sample in samples for note in sample.mask_notes),
    }
    return {
        part: [{"note": note, "count": count} for note, count in counts.most_common(_NOTES)]
        for part, counts in notes.items()
    }


def _inverted_masks(samples: Sequence[Sample]) -> list[str]:
    """Say how many masks came out inverted: right by the standard, and often not what the writing program meant."""
    count = sum(any("inverted" in note for note in sample.mask_notes) for sample in samples)
    if not count:
        return []
    return [
        f"{count:,} of {counted(len(samples), 'mask is', 'masks are')} stored with white as 0 and came out inverted, "
        "as the file says; see in the pictures of the data report whether the foreground is what it should be."
    ]


def _ignored_masks(samples: Sequence[Sample]) -> list[str]:
    """Say how many samples are left out because no pixel of their masks counts."""
    count = sum(sample.flaws != () and sample.flaws[0].kind == "ignored" for sample in samples)
    if not count:
        return []
    return [
        f"{count:,} of {counted(len(samples), 'sample is', 'samples are')} set aside: every pixel of the mask has a "
        "value of target.ignore."
    ]


def _unplaced(samples: Sequence[Sample]) -> list[str]:
    """Say how many samples have files of which only some say where they lie: nothing can tell whether they fit."""
    notes = [{*sample.notes, *sample.mask_notes} for sample in samples]
    count = sum(any(is_unplaced(note) for note in found) for found in notes)
    if not count:
        return []
    return [
        f"In {count:,} of {counted(len(samples), 'sample')} only some of the files say where they lie in the patient, "
        "such as a PNG mask beside a DICOM image: rows and columns were taken as they are stored; see in the pictures "
        "of the data report whether they lie upon each other."
    ]


def _left_out(samples: Sequence[Sample]) -> list[str]:
    """Say in how many masks there are segments that no class is called as: what is meant by them may be a class."""
    count = sum(LEFT_OUT in sample.mask_notes for sample in samples)
    if not count:
        return []
    return [
        f"The segmentations of {count:,} of {counted(len(samples), 'sample')} have segments that no class of "
        "target.mask_values is called as, by label or property type: they are background. If they are a class, name it "
        "so."
    ]


def concerns(entries: Sequence[Entry], samples: Sequence[Sample], given: Mapping[str, str]) -> list[str]:
    """Return what a user should know and what sets nothing aside."""
    found = [*_ignored_masks(samples), *_inverted_masks(samples), *_unplaced(samples), *_left_out(samples)]
    dtypes = Counter(sample.dtype for sample in samples if sample.dtype)
    if len(dtypes) > 1:
        counts = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.most_common())
        found.append(f"The images do not all have the same dtype: {counts}.")
    unknown = len(given.keys() - {entry.item.patient for entry in entries})
    if unknown:
        found.append(f"{counted(unknown, 'patient in split.file is', 'patients in split.file are')} not in the data.")
    return found
