"""Whose the images are, and what to say where that is not known."""

from __future__ import annotations

from collections.abc import Iterator

from medloom.data.survey.settings.known import Known

__all__ = ["patient_notes", "patient_warnings"]


def patient_warnings(known: Known) -> Iterator[str]:
    """Yield what a user should know about the patients."""
    if known.trial.known:
        return
    said, looked = known.seen.with_patient_id(known.trial.images)
    if said == looked > 0:
        return
    where = f" {said} of {looked} DICOM files looked into have a PatientID." if looked else ""
    yield (
        "No patient was found in names, folders, columns or headers: every image is taken for a patient of its own. If "
        "one person has several images, they will be in training and in test, and the metrics will be too good."
        f"{where} {known.trial.listing.patients_hint}"
    )


def patient_notes(known: Known) -> Iterator[str]:
    """Yield what says whose the images are, where no key of the recipe does."""
    if not known.trial.known:
        said, looked = known.seen.with_patient_id(known.trial.images)
        if said == looked > 0:
            yield (
                f"All {looked} DICOM files looked into have a PatientID, which says whose they are; `medloom prepare` "
                "counts the patients."
            )
