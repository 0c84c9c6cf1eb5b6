"""The model card of a bundle: what it predicts, how good it was and on whom, as Markdown for people.

Source: Mitchell et al., Model cards for model reporting, FAT* 2019, arXiv:1810.03993
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from medloom.evaluation.parts import NOT_VALIDATED
from medloom.packaging.manifest import InsteadOfEnsemble, Manifest, Validation
from medloom.targets import KINDS
from medloom.wording import counted, metric_text, one_line

__all__ = ["CARD", "card_text"]

CARD = "MODEL_CARD.md"
"""Its name in a bundle."""

_PARTS = {"test": "held-out test patients", "validation": "validation patients", "folds": "the held-out folds"}


def card_text(manifest: Manifest) -> str:
    """Return the model card of a bundle; everything in it is from the manifest."""
    target = manifest.target
    lines = [
        f"# {manifest.name}",
        "Learned from made-up images (phantoms); of no use on real ones." if manifest.phantom else "",
        f"Predicts {KINDS[target.kind].summary}: {', '.join(target.names)}. Made with Medloom {manifest.medloom}. "
        "It is no medical device.",
        "## Measured at home",
        _measured(manifest),
        _table(manifest.internal_metrics()),
        _instead(manifest.instead_of_ensemble),
        "## Measured elsewhere",
        *([_elsewhere(one) for one in manifest.validations] or [NOT_VALIDATED]),
        "## Learned from",
        _learned(manifest.training_data.counts),
        "## Where its labels come from",
        _origin(manifest),
        "## Probabilities",
        _calibrated(manifest),
    ]
    return "\n\n".join(filter(None, lines)) + "\n"


def _measured(manifest: Manifest) -> str:
    if manifest.measured is None:
        return "On whom is not written in the bundle."
    note = f" {manifest.measured.note}" if manifest.measured.note else ""
    return f"On {_PARTS[manifest.measured.part]} of the source that it learned from, with 95 % intervals.{note}"


def _instead(found: InsteadOfEnsemble | None) -> str:
    if found is None:
        return ""
    how = {"soup": "the mean of their weights", "distilled": "trained on their probabilities"}[found.what]
    return (
        f"It stands for an ensemble of {found.members} networks ({how}). Its metrics minus the ensemble's, on the same "
        f"{one_line(found.cases)}, whom none of them saw:\n\n{_table(found.difference)}"
    )


def _elsewhere(one: Validation) -> str:
    patients = one.counts.get("patients")
    whom = "" if patients is None else f" of {counted(patients, 'patient')}"
    return f"{one_line(one.name)}: {counted(one.counts.get('images') or 0, 'image')}{whom}.\n\n{_table(one.metrics)}"


def _table(metrics: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {metric_text(metric)} |"
        for name, metric in metrics.items()
        if isinstance(metric, Mapping) and metric.get("value") is not None
    ]
    return "\n".join(["| metric | value (95 % interval) |", "|---|---|", *rows]) if rows else ""


def _learned(counts: Mapping[str, Any]) -> str:
    said = [_part(part, found) for part, found in counts.items() if isinstance(found, Mapping)]
    return "; ".join(said) + "." if said else "How many patients is not written in the bundle."


def _part(part: str, found: Mapping[str, Any]) -> str:
    sizes: Iterable[tuple[str, Any]] = ((name, found.get(name)) for name in ("patients", "samples"))
    return f"{part}: {', '.join(f'{size:,} {name}' for name, size in sizes if isinstance(size, int))}"


def _origin(manifest: Manifest) -> str:
    if manifest.origin is None:
        return "Who gave them, from what and how far readers agree is not stated."
    return "\n".join(f"- {title}: {text}" for title, text in manifest.origin.rows())


def _calibrated(manifest: Manifest) -> str:
    if manifest.calibration is None:
        return "As the network gives them; they were not calibrated."
    return f"Calibrated on validation patients ({manifest.calibration.method})."
