"""Counts of a preparation: what was found, used and set aside, and how it is divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from medloom.data.building import Sample
from medloom.data.layouts import Listing
from medloom.data.pseudonyms import Entry
from medloom.data.splits import SPLITS
from medloom.data.truth import Truth
from medloom.targets import Target
from medloom.wording import counted

__all__ = ["accounting", "concerns", "division"]


def division(catalogue: pd.DataFrame, target: Target, truth: Truth) -> dict[str, Any]:
    """Return counts for each split, with those of the truth, and for each patient."""
    counts = {}
    for split in SPLITS:
        part = catalogue[catalogue["split"] == split]
        patients = int(part["patient_id"].nunique())
        counts[split] = {"patients": patients, "samples": len(part), **truth.counts(part, target)}
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
    return {"found": found, "used": found - reasons.total() - dropped, "set_aside": aside, "dropped": repaired}


def concerns(entries: Sequence[Entry], samples: Sequence[Sample], given: Mapping[str, str]) -> list[str]:
    """Return what a user should know and what sets nothing aside."""
    found = []
    dtypes = Counter(sample.dtype for sample in samples if sample.dtype)
    if len(dtypes) > 1:
        counts = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.most_common())
        found.append(f"The images do not all have the same dtype: {counts}.")
    unknown = len(given.keys() - {entry.item.patient for entry in entries})
    if unknown:
        found.append(f"{counted(unknown, 'patient in split.file is', 'patients in split.file are')} not in the data.")
    return found
