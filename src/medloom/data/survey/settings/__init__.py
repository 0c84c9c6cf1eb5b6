"""What the pixels and the device say about a recipe whose layout is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from medloom.data.survey.device import Device
from medloom.data.survey.findings import Finding
from medloom.data.survey.seen import Seen
from medloom.data.survey.settings import labels, masks
from medloom.data.survey.settings.images import Pixels, image_findings
from medloom.data.survey.settings.known import Known
from medloom.data.survey.settings.patients import patient_notes, patient_warnings
from medloom.data.survey.trial import Trial
from medloom.data.survey.weights import Weights
from medloom.errors import DataError

__all__ = ["KINDS", "Settings", "settings_of"]

KINDS: dict[str, Callable[[Known], Iterable[Finding]]] = {
    "masks": masks.findings,
    "binary": labels.class_findings,
    "multi-class": labels.class_findings,
    "multi-label": labels.several_findings,
    "regression": labels.number_findings,
}
"""By kind of answer: what a network for it begins with."""


@dataclass(frozen=True)
class Settings:
    """What was found.

    Args:
        findings: Keys that the reading did not say.
        warnings: What a user should be careful about.
        notes: What a user should know.
    """

    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def settings_of(
    trial: Trial, seen: Seen, device: Device, settings: Mapping[str, Any], weights: tuple[Weights, ...] = ()
) -> Settings:
    """Return every key of the recipe beside those of the reading.

    Args:
        trial: The reading that was taken.
        seen: The files.
        device: What there is to train on.
        settings: Values by dotted key that the user gave.
        weights: What networks may begin with.

    Raises:
        DataError: If none of the images that were looked into decodes.
    """
    looks = seen.image_looks(trial.images)
    pixels = Pixels.of(looks)
    if not pixels.looks:
        reason = next((look.refused for look in looks), "there are none")
        raise DataError(f"none of the {len(looks)} images that were looked into can be read: {reason}")
    known = Known(trial, seen, device, pixels, settings, weights)
    found = [*image_findings(known), *KINDS[trial.target.kind](known)]
    told = set(trial.reading.values)
    warnings = [*patient_warnings(known)]
    if pixels.refused:
        warnings.append(
            f"{pixels.refused} of {len(looks)} images looked into would be refused; `medloom inspect` says why."
        )
    warnings += [f"{text}: `medloom prepare` names them." for text in trial.problem_texts]
    return Settings(tuple(one for one in found if one.key not in told), tuple(warnings), tuple(patient_notes(known)))
