"""A table with a row for each image: the layout ``csv``.

Publishers that are read this way: SIIM-ISIC (``train.csv``: image_name, patient_id, …, target), HAM10000 (image_id,
lesion_id, dx, …), NIH ChestX-ray14 (Image Index, Finding Labels, Patient ID) and plain tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from medloom.data.layouts.label_kind import found_kind
from medloom.data.metadata import as_number
from medloom.data.survey.detectors.classes import NEGATIVE
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.names import listed, words
from medloom.data.survey.people import numbering
from medloom.data.survey.seen import Seen
from medloom.data.survey.tables import LabelTable, folder_rows
from medloom.data.truth import LabelRule
from medloom.errors import DataError
from medloom.imaging import strip_suffix
from medloom.wording import counted

__all__ = ["detect", "table_reading"]

_MOST_READINGS = 6
_FEWEST_FLAGS = 3
_MOST_GROUPS = 12
_FEW_BLANKS = 0.05
_LISTS = {"train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}
_FIRST_LINES = 20
_GRADES = frozenset({"category", "class", "classes", "grade", "label", "labels", "stage", "target"})
"""Words of columns whose few whole numbers are classes and no measurements."""


@dataclass(frozen=True)
class _Label:
    """A way to read the labels of a table.

    Args:
        columns: The columns.
        findings: Keys beside ``target.columns``; ``target.kind`` at least.
        said: What it is, for messages.
        refused: Why it is not taken although it may be meant.
    """

    columns: tuple[str, ...]
    findings: tuple[Finding, ...]
    said: str
    refused: str = ""


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield a reading for each way to read the labels of each table that names images."""
    yield from _of_folders(seen)
    for table in seen.label_tables:
        for label in list(_labels(table))[:_MOST_READINGS]:
            reading = table_reading(seen, table, label.columns, label.findings, label.said)
            yield replace(reading, refused=label.refused)


def _of_folders(seen: Seen) -> Iterator[Reading]:
    """Refuse a table whose rows are about folders, such as patients, and not about images."""
    rows = folder_rows(seen)
    if rows:
        yield Reading(
            "a table with a row for each folder",
            Strength.SHOWN,
            (Finding("target.kind", "auto", ""),),
            refused=f"{counted(rows, 'row is', 'rows are')} about folders, such as patients; the layout csv needs a "
            "row for each image",
        )


def table_reading(
    seen: Seen,
    table: LabelTable,
    columns: Sequence[str],
    target: Sequence[Finding],
    said: str,
    patient: Sequence[Finding] | None = None,
) -> Reading:
    """Return the reading of a table.

    Args:
        seen: The files.
        table: The table.
        columns: Its columns with the label.
        target: Keys of the section ``target`` beside ``columns``.
        said: What the labels are, for messages.
        patient: What says whose the images are; None to look for it.
    """
    same = table.like(columns[0]) if len(columns) == 1 else []
    beside = f"{', '.join(same)}, which say the same in other words" if same else ""
    told = f"{counted(table.rows, 'row')}; {said}"
    return Reading(
        f"a table with a row for each image ({said})",
        Strength.SHOWN,
        (
            *target,
            Finding("target.columns", list(columns), told, instead=beside),
            *_file_findings(seen, table),
            *_repeated_findings(table, columns),
            *(_patient_findings(table) if patient is None else patient),
            *_metadata_findings(table, columns),
            *_published_findings(seen, table),
        ),
        unless="data.labels.file" if table.files else "",
        asked="data.labels.file" if table.of_part else "",
    )


def _labels(table: LabelTable) -> Iterator[_Label]:
    flags = table.flags
    if len(flags) >= _FEWEST_FLAGS:
        yield from _several(table, flags)
        return
    for column in table.labels:
        yield from _one(table, column)


def _several(table: LabelTable, columns: Sequence[str]) -> Iterator[_Label]:
    """Several columns of 0 and 1; where many cells are blank, it must be said what that means."""
    said = f"{counted(len(columns), 'column')} of 0 and 1: {listed(columns)}"
    single = all(sum(row.cells[column] in ("1", "1.0") for column in columns) == 1 for row in table.table.rows)
    note = "every row has exactly one 1: one class of several; here each is predicted by itself" if single else ""
    kind = Finding("target.kind", "multi-label", said, check=note)
    blank = sum(table.rows - table.counts[column].total() for column in columns)
    share = blank / (table.rows * len(columns))
    if share <= _FEW_BLANKS:
        yield _Label(tuple(columns), (kind,), said)
        return
    for meaning, text in (("negative", "are not there"), ("mask", "are unknown")):
        found = Finding("target.blank", meaning, f"{share:.0%} of the cells are blank: such labels {text}")
        yield _Label(tuple(columns), (kind, found), f"{said}; blank labels {text}")


def _one(table: LabelTable, column: str) -> Iterator[_Label]:
    counts = table.counts[column]
    said = f"the column {column} holds {_shown(counts)}"
    try:
        found_kind(counts, LabelRule((column,)))
    except DataError as error:
        numbers = sum(as_number(word) is not None for word in counts)
        if numbers < len(counts) and "several labels" not in error.summary:
            yield _Label((column,), (Finding("target.kind", "auto", said),), f"label {column}", error.summary)
        else:
            yield from _either(column, said, error)
        return
    check = "" if table.says_label(column) else "is this the label? It is the only column that may be"
    yield _Label((column,), tuple(_kind(counts, said, check)), f"label {column}")


def _kind(counts: dict[str, int], said: str, check: str) -> Iterator[Finding]:
    yield Finding("target.kind", "auto", said, check=check)
    if len(counts) == 2:
        names = sorted(counts)
        negative = [name for name in names if not NEGATIVE.isdisjoint(words(name))]
        if len(negative) == 1 and negative[0] != names[0]:
            yield Finding("target.classes", names[::-1], f"{negative[0]} means that nothing was found")


def _either(column: str, said: str, error: DataError) -> Iterator[_Label]:
    """Two ways to read a column: the first alone where its name says that it holds classes."""
    several = "multi-label" in error.summary
    clear = bool(not several and _GRADES & set(words(column)))
    check = "if its numbers are measurements, set target.kind=regression" if clear else ""
    for kind in ("multi-class", *(() if clear else ("multi-label" if several else "regression",))):
        yield _Label((column,), (Finding("target.kind", kind, said, check=check),), f"label {column} as {kind}")


def _shown(counts: dict[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: -item[1])
    return f"{counted(len(counts), 'different word or number', 'different words or numbers')}, such as " + ", ".join(
        f"{word} {count:,} times" for word, count in most[:3]
    )


def _file_findings(seen: Seen, table: LabelTable) -> Iterator[Finding]:
    there = f"{counted(len(seen.tables), 'table')} there"
    yield Finding("data.layout", "csv", f"a table of {counted(table.rows, 'row')} names images")
    if table.files:
        files = {part: _shortest(seen, path) for part, path in table.files.items()}
        yield Finding("data.labels.files", files, f"{there}; these are called as published parts are, and say the same")
    else:
        yield Finding("data.labels.file", _shortest(seen, table.path), there)
    yield Finding("data.labels.image", table.image, "its cells are names of files")


def _shortest(seen: Seen, path: str) -> str:
    """The name of a table where no other is called so; else its path."""
    name = path.rpartition("/")[2]
    return name if sum(other.rpartition("/")[2] == name for other in seen.tables) == 1 else path


def _published_findings(seen: Seen, table: LabelTable) -> Iterator[Finding]:
    """What says in which published part an image is, beside tables of the parts."""
    if not table.files:
        yield from _list_findings(seen) if table.parts is None else _part_findings(table)


def _patient_findings(table: LabelTable) -> Iterator[Finding]:
    key = "data.labels.patient"
    if table.patient:
        people = counted(len(table.counts[table.patient]), "patient")
        yield Finding(key, table.patient, f"{people} in {counted(table.rows, 'row')}")
    elif table.lesion:
        several = counted(len(table.counts[table.lesion]), "different one")
        yield Finding(
            key,
            table.lesion,
            f"no column names patients; of this one there are {several} in {counted(table.rows, 'row')}, so that its "
            "images stay together",
            check="patients with several of them may be in training and test",
        )
    elif found := numbering([strip_suffix(row.cells[table.image].rpartition("/")[2]) for row in table.table.rows]):
        yield Finding(
            "data.labels.patient_pattern",
            found.pattern,
            f"no column names patients; a number in {found.images:,} file names repeats as that of a patient does: "
            f"{counted(found.patients, 'patient')}",
            check="is it the patient?",
        )


def _repeated_findings(table: LabelTable, columns: Sequence[str]) -> Iterator[Finding]:
    """What several rows about one image mean; of rows that differ, labels that may be there together are united."""
    several, differing = table.several_rows(columns)
    if not several:
        return
    said = f"{counted(several, 'image has', 'images have')} several rows"
    if not differing:
        yield Finding("data.labels.repeated", "agree", f"{said}, which say the same")
    elif len(columns) > 1:
        yield Finding(
            "data.labels.repeated",
            "any",
            f"{said}, as of several readers, and those of {differing:,} differ: a label is there if one row says so",
            check="is one reader of several enough?",
        )


def _part_findings(table: LabelTable) -> Iterator[Finding]:
    """Say that a column names published parts, which the layout does not read."""
    yield Finding(
        "split.by",
        "patient",
        f"the column {table.parts} says in which part an image is, which is not kept: all are divided anew",
        instead="the published parts: list their patients in a CSV and name it in split.file",
    )


def _list_findings(seen: Seen) -> Iterator[Finding]:
    """Lists of train and test in text files, whose first lines name images."""
    found: dict[str, str] = {}
    for path in [name for name in seen.names if name.lower().endswith(".txt")]:
        said = words(path.rpartition("/")[2])
        part = next((_LISTS[word] for word in said if word in _LISTS), None)
        if part and part not in found and _lists_images(seen, path):
            found[part] = path.rpartition("/")[2]
    if {"train", "test"} <= set(found):
        yield Finding(
            "split.lists", dict(sorted(found.items())), "text files that list images, called as the parts are"
        )


def _lists_images(seen: Seen, path: str) -> bool:
    lines = seen.head(path).decode("utf-8", "replace").splitlines()[:_FIRST_LINES]
    return bool(lines) and all(line.strip().rpartition("/")[2] in seen.called for line in lines if line.strip())


def _metadata_findings(table: LabelTable, columns: Sequence[str]) -> Iterator[Finding]:
    numbers = [column for column in table.numbers if column not in columns]
    kept = [column for column in table.words if column not in columns]
    why = "goes beside the image into a cheap model to compare with; into the network with model.metadata=fused"
    if numbers:
        yield Finding("data.labels.metadata.numeric", numbers, f"numbers about the patient: {why}")
    if kept:
        yield Finding("data.labels.metadata.categorical", kept, f"words about the patient: {why}")
    groups = [column for column in kept if len(table.counts[column]) <= _MOST_GROUPS]
    if groups:
        yield Finding("data.labels.groups", groups, "the metrics are also reported for each of their words")


def with_strength(reading: Reading, strength: Strength, name: str) -> Reading:
    """Return a reading of a set whose publisher is known."""
    return replace(reading, strength=strength, name=f"{name}: {reading.name}")
