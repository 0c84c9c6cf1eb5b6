"""Models beside each other on the same cases: paired differences, and whether they are more than chance.

Two intervals that overlap say little of two models that answered the same patients: what is hard for one is hard for
the other. So the difference is taken patient by patient, on the same resamples of the patients for both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from medloom.errors import DataError, UserError
from medloom.evaluation.family import Facts, Family
from medloom.evaluation.metrics import interval_facts, meanings
from medloom.metrics import Resampled, bootstrap_p, compare_areas, holm, resample
from medloom.wording import counted, few

__all__ = ["RESAMPLES", "compare_cases", "drawn_metrics", "paired_headlines"]

RESAMPLES = 10_000
"""Resamples by default: with ten models and four metrics a corrected p-value can still come below 0.05."""

_SEED = 0


def compare_cases(
    family: Family, cases: Mapping[str, pd.DataFrame], against: str, resamples: int = RESAMPLES, over: str = "patients"
) -> Facts:
    """Compare models on the cases that all of them answered.

    Args:
        family: How the kind of answer is measured.
        cases: The per-case table of each model by its name, of one split. Where ``sample_id`` is the same, it is the
            same image; patients may be called otherwise as long as the same images are of one.
        against: The one that the others are compared with.
        resamples: Resamples of the patients.
        over: What is drawn: ``patients``, or ``images`` where it is not known whose they are; then there are no metrics
            over patients.

    Returns:
        ``against``; ``counts`` (``images``, ``patients``, and ``left_out`` by model); ``models`` (metrics of each, on
        the shared cases); ``differences`` (each but ``against`` minus it: ``value``, ``low``, ``high``, ``p``, and for
        headlines ``p_corrected`` by Holm over all models and headlines); ``areas`` (the same for ROC AUC by DeLong's
        test); ``withheld`` (metrics of too few cases for one of them, and why); ``curves`` (ROC of each);
        ``interval``, ``headlines`` and ``meanings``.

    Raises:
        UserError: If they share no case.
        DataError: If the truth of a case is not the same for all of them.
    """
    shared, left_out = _shared(family, cases)
    patients = shared[against]["patient_id"].astype(str).to_numpy()
    drawn = {name: drawn_metrics(family, table, resamples) for name, table in shared.items()}
    withheld = {name: why for table in shared.values() for name, why in family.withheld(table).items()}
    kept = [name for name in family.metrics if _is_shown(name, withheld, over)]
    differences = {
        name: _differences(one, drawn[against], kept, len(patients)) for name, one in drawn.items() if name != against
    }
    headlines = [name for name in family.headlines if name in kept]
    _correct(differences, headlines)
    return {
        "against": against,
        "counts": {
            "images": int(shared[against]["sample_id"].nunique()),
            "patients": len(np.unique(patients)) if over == "patients" else None,
            "left_out": left_out,
        },
        "models": {name: {"metrics": _metrics(family, one, kept, len(patients))} for name, one in drawn.items()},
        "differences": differences,
        "withheld": withheld,
        "areas": {} if "roc_auc" in withheld else _areas(family, shared, against),
        "curves": {name: curve for name, table in shared.items() if (curve := _curve(family, table)) is not None},
        "interval": interval_facts(resamples, over),
        "headlines": headlines,
        "meanings": meanings({name: family.metrics[name] for name in kept}),
    }


def paired_headlines(family: Family, ours: pd.DataFrame, theirs: pd.DataFrame, resamples: int) -> Facts:
    """Return by how much the headlines of one network exceed those of another on the same cases.

    Args:
        family: How the kind of answer is measured.
        ours: The per-case table of one, of one split.
        theirs: That of the other one.
        resamples: Resamples of the patients, the same for both, for the 95 % intervals.

    Returns:
        ``value``, ``low``, ``high``, ``n`` and ``patients`` by headline.

    Raises:
        ValueError: If the cases are not the same.
    """
    keys = list(family.case_columns)
    ours, theirs = (table.sort_values(keys).reset_index(drop=True) for table in (ours, theirs))
    if not ours[keys].equals(theirs[keys]):
        raise ValueError("expected two tables of the same cases")
    found = drawn_metrics(family, ours, resamples).minus(drawn_metrics(family, theirs, resamples))
    return {name: found.estimate(name, len(ours)).plain() for name in family.headlines if name in found.point}


def _is_shown(name: str, withheld: Mapping[str, str], over: str) -> bool:
    return name not in withheld and (over == "patients" or not name.startswith("patient_"))


def _shared(family: Family, cases: Mapping[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """The cases that every model has, in one order, and how many images of each model are left out."""
    keys = list(family.case_columns)
    indexed = {name: table.set_index(keys, drop=False).sort_index() for name, table in cases.items()}
    first, *others = indexed.values()
    common = first.index
    for table in others:
        common = common.intersection(table.index)
    if not len(common):
        raise UserError(
            f"{', '.join(cases)} share no image: models can only be compared on images that all of them answered; give "
            "them the same images and the same split (split.seed, split.folds)"
        )
    common = common.sort_values()
    shared = {name: table.loc[common].reset_index(drop=True) for name, table in indexed.items()}
    _check_truth(family, shared)
    images = next(iter(shared.values()))["sample_id"].nunique()
    left = {name: int(table["sample_id"].nunique() - images) for name, table in cases.items()}
    return shared, {name: count for name, count in left.items() if count}


def _check_truth(family: Family, shared: Mapping[str, pd.DataFrame]) -> None:
    """Refuse models that were measured against other labels, or that count other images as one patient's."""
    (name, first), *others = shared.items()
    problems = []
    for other, table in others:
        for column in family.truth_columns:
            left, right = first[column], table[column]
            unlike = int(((left != right) & ~(left.isna() & right.isna())).sum())
            if unlike:
                problems.append(
                    f"{other}: {column} differs from that of {name} in {counted(unlike, 'row')} of {len(left):,}"
                )
        pairs = pd.DataFrame({name: first["patient_id"], other: table["patient_id"]}).drop_duplicates()
        if pairs[name].duplicated().any() or pairs[other].duplicated().any():
            problems.append(f"{other}: other images belong to one patient than in {name}")
    if problems:
        raise DataError("the models were not measured against the same truth", few(problems))


def drawn_metrics(family: Family, cases: pd.DataFrame, resamples: int) -> Resampled:
    """Return the metrics on all cases and on resamples of the patients, the same for every model of the same cases.

    Args:
        family: How the kind of answer is measured.
        cases: The per-case table, of one split; rows of several models in the same order.
        resamples: How many.
    """
    weights = cases["weight"].to_numpy(float) if "weight" in cases else None
    return resample(cases["patient_id"].astype(str).to_numpy(), family.statistics(cases), resamples, _SEED, weights)


def _differences(ours: Resampled, theirs: Resampled, names: list[str], cases: int) -> Facts:
    """Each metric of ours minus that of theirs, on all cases and on the same resamples."""
    found = ours.minus(theirs)
    return {
        name: {**found.estimate(name, cases).plain(), "p": bootstrap_p(found.draws[name])}
        for name in names
        if name in found.point and not np.isnan(found.point[name])
    }


def _correct(differences: Mapping[str, Facts], headlines: list[str]) -> None:
    """Correct the p-values of the headlines of all models together, in place."""
    looked_at = [one[name] for one in differences.values() for name in headlines if name in one]
    known = [one for one in looked_at if one["p"] is not None]
    for one, corrected in zip(known, holm([one["p"] for one in known]), strict=True):
        one["p_corrected"] = float(corrected)


def _metrics(family: Family, drawn: Resampled, names: list[str], cases: int) -> Facts:
    return {
        name: drawn.estimate(name, cases, centred=family.metrics[name].centred).plain()
        for name in names
        if name in drawn.point and not np.isnan(drawn.point[name])
    }


def _areas(family: Family, shared: Mapping[str, pd.DataFrame], against: str) -> Facts:
    reference, patients = family.ranked(shared[against]), shared[against]["patient_id"].to_numpy()
    found = {}
    for name, table in shared.items():
        one = family.ranked(table)
        if name == against or one is None or reference is None:
            continue
        area = compare_areas(reference[0], one[1], reference[1], patients)
        if area is not None:
            found[name] = area.plain()
    return found


def _curve(family: Family, table: pd.DataFrame) -> Facts | None:
    """The ROC curve: a point for each score, from the highest."""
    ranked = family.ranked(table)
    if ranked is None or ranked[0].all() or not ranked[0].any():
        return None
    truth, score = ranked
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    hits, misses = np.cumsum(truth[order])[ends], np.cumsum(~truth[order])[ends]
    return {
        "sensitivity": [0.0, *(hits / truth.sum()).tolist()],
        "false_positive_rate": [0.0, *(misses / (~truth).sum()).tolist()],
    }
