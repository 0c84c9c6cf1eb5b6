"""Whose each image is: as the recipe says, by the PatientID of DICOM where it says nothing, or not known.

What is found here is said once, in the facts ``patient_source``; nothing else may call a sample a patient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from medloom.data.layouts import Item, Listing, natural_key
from medloom.data.layouts.patients import alike
from medloom.data.sources import Source
from medloom.errors import DataError, DecodeError
from medloom.imaging.dicom_patient import PatientHeader, patient_header
from medloom.wording import counted

__all__ = ["Patients", "patients_of"]

_DICOM = "PatientID of DICOM"
_HEADS = (2**12, 2**17, 2**22)
"""Bytes of a file that are read, more only where what is asked for lies further on."""

_PLACEHOLDERS = frozenset(
    {"anon", "anonym", "anonymised", "anonymized", "anonymous", "deidentified", "dummy", "na", "n/a", "nan", "nil"}
    | {"no_id", "noid", "none", "null", "patient", "patientid", "private", "redacted", "removed", "test", "unknown"}
    | {"unspecified", "x", "xx", "xxx", "xxxx"}
)
"""What programs write in the place of an identifier, in lower case, without hyphens and blanks."""

Status = Literal["known", "partly", "unknown"]


@dataclass(frozen=True)
class Patients:
    """What says whose the images are.

    Args:
        source: Such as ``the column patient``; empty where nothing does.
        warnings: One sentence for each thing that a user should know.
    """

    source: str
    warnings: tuple[str, ...] = ()

    def facts(self, catalogue: pd.DataFrame, *, by_sample: bool) -> dict[str, Any]:
        """Return ``patient_source``: the one place by which anything says that patients are kept apart.

        Args:
            catalogue: With ``patient_id``, ``split`` and ``known``.
            by_sample: Whether the split is by sample.
        """
        known = catalogue[catalogue["known"]]
        status: Status = "unknown" if known.empty else "known" if len(known) == len(catalogue) else "partly"
        apart = bool((known.groupby("patient_id")["split"].nunique() <= 1).all())
        return {
            "status": status,
            "source": self.source if len(known) else "",
            "patients": int(known["patient_id"].nunique()),
            "samples_without": len(catalogue) - len(known),
            "apart": status == "known" and apart and not by_sample,
        }


def patients_of(listing: Listing, source: Source) -> tuple[Listing, Patients]:
    """Find out whose the images are, where the layout does not know.

    Args:
        listing: What a layout found.
        source: Where the files are; of DICOM what stands before the pixels is read.

    Returns:
        The listing, with its patients in order of their real id, and what says whose the images are.
    """
    if listing.patients or not listing.items:
        return listing, Patients(listing.patients, tuple(_warnings(listing)))
    heads = {name: _header(source, name) for name in dict.fromkeys(map(_file, listing.items))}
    found = {name: head for name, head in heads.items() if head is not None}
    usable, said = _usable(found)
    items = list(listing.items)
    if usable:
        items = [_of_patient(item, usable.get(_file(item))) for item in items]
        items.sort(key=lambda item: (natural_key(item.patient), natural_key(item.sample)))
    named = replace(listing, items=tuple(items))
    return named, Patients(_DICOM if usable else "", (*said, *_warnings(named)))


def _file(item: Item) -> str:
    return next(filter(None, item.images), "")


def _of_patient(item: Item, patient: str | None) -> Item:
    # The place of a file is no PatientID of another, as the name of a sample could be.
    return replace(item, patient=patient or _file(item), known=patient is not None)


def _header(source: Source, name: str) -> PatientHeader | None:
    """What a file says about whose it is; None where it is no DICOM, or cannot be read, which is said elsewhere."""
    for most in _HEADS:
        try:
            head = source.head(name, most)
            return patient_header(head)
        except (DataError, OSError):
            return None
        except DecodeError as error:
            if error.code != "truncated" or len(head) < most:
                return None
    return None


def _usable(found: Mapping[str, PatientHeader]) -> tuple[dict[str, str], list[str]]:
    """The PatientID of each file that has one, and what to say of the others."""
    usable = {name: head.patient_id for name, head in found.items() if not _is_placeholder(head.patient_id)}
    said = []
    if len(usable) < len(found):
        left = len(found) - len(usable)
        said.append(
            f"{left:,} of {counted(len(found), 'DICOM file has', 'DICOM files have')} no PatientID, or a placeholder "
            "such as ANON or 0."
        )
    if len(usable) > 1 and len(set(usable.values())) == 1 and not _of_one_study([found[name] for name in usable]):
        said.append(
            f"All {counted(len(usable), 'DICOM file')} with a PatientID have the same one, though nothing else says "
            "that they are of one person or study: it is taken for a placeholder."
        )
        usable = {}
    return usable, said


def _is_placeholder(patient_id: str) -> bool:
    plain = patient_id.casefold().replace("-", "").replace(" ", "").strip("^_.")
    return not plain or plain in _PLACEHOLDERS or not plain.strip("0")


def _of_one_study(heads: Sequence[PatientHeader]) -> bool:
    """Whether files that say they are of one patient are of one study, and of nobody else by name, birth and sex."""
    studies = {head.study for head in heads}
    return len(studies) == 1 and studies != {""} and len({head.person for head in heads}) == 1


def _warnings(listing: Listing) -> Iterable[str]:
    without = sum(not item.known for item in listing.items)
    if without == len(listing.items):
        if without:
            yield (
                "No patient is known: every image is taken for itself, and images of one patient may be in training "
                f"and test; the metrics may then be too good. {listing.patients_hint}"
            )
        return
    if without:
        yield (
            f"The patient of {without:,} of {counted(len(listing.items), 'image')} is not known: each of them is taken "
            f"for itself, and may be of a patient in another part. {listing.patients_hint}"
        )
    if count := alike(Counter(item.patient for item in listing.items if item.known)):
        yield (
            f"{counted(count, 'patient is', 'patients are')} named as another one but for leading zeros, .0 or capital "
            "letters, as 1, 001 and 1.0 are: they count as different people. If they are not, write them alike."
        )
