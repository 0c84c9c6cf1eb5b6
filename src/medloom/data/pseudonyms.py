"""Names that say nothing about a person, given before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from medloom.data.layouts import Item

__all__ = ["Entry", "patient_pseudonyms", "with_pseudonyms"]


@dataclass(frozen=True)
class Entry:
    """A sample with its pseudonyms.

    Args:
        item: As the layout found it, with the real names.
        patient_id: Such as ``P007``.
        sample_id: Such as ``P007-012``.
    """

    item: Item
    patient_id: str
    sample_id: str

    @property
    def file(self) -> str:
        """The file by which a user knows the sample."""
        return next(filter(None, self.item.images), self.item.mask)


def patient_pseudonyms(names: Iterable[str]) -> dict[str, str]:
    """Number patients in the order they come in.

    Args:
        names: The real name of each sample's patient.

    Returns:
        The pseudonym of each name; all are of one length, so that they sort as text.

    Example:
        >>> patient_pseudonyms(["Smith", "Jones", "Smith"])
        {'Smith': 'P001', 'Jones': 'P002'}
    """
    distinct = list(dict.fromkeys(names))
    width = max(3, len(str(len(distinct))))
    return {name: f"P{number:0{width}d}" for number, name in enumerate(distinct, start=1)}


def with_pseudonyms(items: Iterable[Item]) -> list[Entry]:
    """Number patients and their samples in the order they come in.

    Args:
        items: Patients in order of their real id, samples in natural order, as a layout lists them.

    Returns:
        One entry an item, in the same order.
    """
    listed = list(items)
    patients = patient_pseudonyms(item.patient for item in listed)
    most = max(Counter(item.patient for item in listed).values(), default=0)
    width = max(3, len(str(most)))  # so that they sort as text, also where a volume has a thousand slices
    counts = dict.fromkeys(patients, 0)
    entries = []
    for item in listed:
        counts[item.patient] += 1
        patient_id = patients[item.patient]
        entries.append(Entry(item, patient_id, f"{patient_id}-{counts[item.patient]:0{width}d}"))
    return entries
