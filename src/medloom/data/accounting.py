"""Counts of a preparation: what was found, used and set aside, and how it is divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from medloom.data.building import Sample
from medloom.data.catalogue import labels_of
from medloom.data.layouts import Listing
from medloom.data.pseudonyms import Entry
from medloom.data.splits import SPLITS, label_counts
from medloom.wording import counted

__all__ = ["accounting", "concerns", "label_facts", "lesion_facts"]


def lesion_facts(catalogue: pd.DataFrame) -> dict[str, Any]:
    """Return counts for each split and each patient, of samples with and without a lesion."""
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


def label_facts(catalogue: pd.DataFrame, listing: Listing) -> dict[str, Any]:
    """Return counts for each split and each patient, of samples with each label.

    The keys of ``lesion_facts`` are there and say that there is no lesion, for what shows both tasks alike.
    """
    labels, counts = labels_of(catalogue), {}
    meaning = (listing.kind, listing.classes, listing.targets)
    for split in SPLITS:
        here = (catalogue["split"] == split).to_numpy()
        counts[split] = {
            "patients": int(catalogue.loc[here, "patient_id"].nunique()),
            "samples": int(here.sum()),
            "lesion_samples": 0,
            "lesion_share": 0.0,
            **label_counts(labels[here], *meaning),
        }
    patients = [
        {"patient_id": str(name), "split": group["split"].iloc[0], "samples": len(group), "lesions": 0}
        for name, group in catalogue.groupby("patient_id")
    ]
    found = {"kind": listing.kind, "classes": list(listing.classes), "targets": list(listing.targets)}
    return {"labels": found, "counts": counts, "patients": patients}


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
