"""What the columns of a table of labels are: which names the images, which the patients, which may be the label."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from medloom.data.checks import FILE_ERRORS
from medloom.data.layouts.base import PART_OF
from medloom.data.layouts.part_tables import Part, joined_tables
from medloom.data.layouts.table import Table, read_table
from medloom.data.metadata import as_number, is_blank
from medloom.data.survey.names import is_part, spread, with_split, words
from medloom.imaging import strip_suffix

if TYPE_CHECKING:
    from medloom.data.survey.seen import Seen

__all__ = ["LabelTable", "find_label_tables", "folder_rows", "with_parts_joined"]

_PARTS: tuple[Part, ...] = ("train", "validation", "test")

_MOST_COLUMNS = 300
"""Wider tables hold pixels or features."""

_SAMPLE = 300
_NAMING = 0.5
"""A column names images if at least this share of its cells does, and not a few images over and over."""
_DIFFERENT = 0.2

_MOST_CLASSES = 20
_FLAGS = frozenset({-1.0, 0.0, 1.0})

_IS_LABEL = frozenset({"class", "classes", "label", "labels", "outcome", "target", "targets"})
_IS_FINDING = frozenset(
    {"category", "diagnosis", "diagnoses", "disease", "dx", "finding", "findings", "grade", "level", "malignancy"}
    | {"malignant", "pathology", "severity", "stage"}
)
_IS_OTHER = frozenset(
    {
        "age",
        "anatom",
        "approx",
        "bmi",
        "columns",
        "confidence",
        "dataset",
        "date",
        "ethnicity",
        "file",
        "filename",
        "fold",
    }
    | {"gender", "height", "id", "laterality", "localization", "location", "manufacturer", "modality", "name", "path"}
    | {"pixel", "position", "quality", "race", "rows", "series", "set", "sex", "site", "source", "spacing", "split"}
    | {
        "study",
        "type",
        "url",
        "view",
        "weight",
        "width",
        "x",
        "y",
        "xmin",
        "ymin",
        "xmax",
        "ymax",
        "ap",
        "pa",
        "frontal",
    }
)
_IS_PERSON = frozenset({"participant", "patient", "patientid", "patients", "person", "pid", "subject"})
_IS_NUMBER_OF_PERSON = frozenset({"age"})
_IS_WORD_OF_PERSON = frozenset(
    {
        "anatom",
        "ethnicity",
        "gender",
        "laterality",
        "localization",
        "location",
        "position",
        "race",
        "sex",
        "site",
        "view",
    }
)
_NAMES = frozenset({"dicom", "file", "filename", "id", "image", "image_id", "imageid", "img", "index", "name", "path"})


@dataclass(frozen=True)
class LabelTable:
    """A table of which a column names images.

    Args:
        path: Where it is.
        table: What it holds.
        image: The column that names images.
        files: By published part the table of each, where this is all of them as one.
        of_part: Whether it is one of several that are read as one, and alone only where a user says so.
    """

    path: str
    table: Table
    image: str
    files: Mapping[Part, str] = field(default_factory=dict)
    of_part: bool = False

    @property
    def name(self) -> str:
        """What its file is called, without folders."""
        return self.path.rpartition("/")[2]

    @cached_property
    def counts(self) -> dict[str, Counter[str]]:
        """How often each word comes in each column, blanks left out."""
        found: dict[str, Counter[str]] = {}
        for column in self.table.columns:
            every = Counter(row.cells[column] for row in self.table.rows)
            found[column] = Counter({word: count for word, count in every.items() if not is_blank(word)})
        return found

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.table.rows)

    @cached_property
    def patient(self) -> str | None:
        """The column that says whose an image is."""
        found = [
            column
            for column in self.table.columns
            if _IS_PERSON & set(words(column)) and not (_IS_OTHER - {"id", "name"}) & set(words(column))
        ]
        return next((column for column in found if column != self.image), found[0] if found else None)

    @cached_property
    def lesion(self) -> str | None:
        """A column that at least says which images are of one lesion or study."""
        return next(
            (
                column
                for column in self.table.columns
                if {"lesion", "study", "exam"} & set(words(column))
                and {"id", "uid"} & set(words(column))
                and len(self.counts[column]) < self.rows
            ),
            None,
        )

    @cached_property
    def numbers(self) -> list[str]:
        """Metadata that are numbers."""
        return [column for column in self._named(_IS_NUMBER_OF_PERSON) if self._numeric(column)]

    @cached_property
    def words(self) -> list[str]:
        """Metadata that are words."""
        found = self._named(_IS_WORD_OF_PERSON)
        return [column for column in found if 2 <= len(self.counts[column]) <= _MOST_CLASSES]

    @cached_property
    def flags(self) -> list[str]:
        """Columns of 0, 1, -1 and blanks, also those with one of them alone: labels that are there or not."""
        return [
            column
            for column in self.table.columns
            if column not in (self.image, self.patient, self.lesion)
            and self._rank(column) >= 0
            and self.counts[column]
            and {as_number(word) for word in self.counts[column]} <= _FLAGS
        ]

    def several_rows(self, columns: Sequence[str]) -> tuple[int, int]:
        """Return how many images have several rows, and of how many of these the rows differ in some columns."""
        found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        rows = Counter(row.cells[self.image] for row in self.table.rows)
        for row in self.table.rows:
            if rows[row.cells[self.image]] > 1:
                found[row.cells[self.image]].add(tuple(row.cells[column] for column in columns))
        return len(found), sum(len(words) > 1 for words in found.values())

    @cached_property
    def labels(self) -> list[str]:
        """The columns that may be the label: those whose names say so best; several that say the same count once."""
        ranked = [(self._rank(column), column) for column in self._free]
        best = max((rank for rank, _ in ranked), default=-1)
        found = [column for rank, column in ranked if rank == best]
        if best == 0:
            found = [column for column in found if len(self.counts[column]) <= _MOST_CLASSES or self._numeric(column)]
        return self._different(found)

    def says_label(self, column: str) -> bool:
        """Whether a column's name says that it holds what is to be predicted."""
        return self._rank(column) > 0

    @cached_property
    def parts(self) -> str | None:
        """A column that says in which published part an image is."""
        return next(
            (
                column
                for column, counts in self.counts.items()
                if len(counts) > 1 and all(is_part(word) for word in counts) and column != self.image
            ),
            None,
        )

    def like(self, column: str) -> list[str]:
        """Return the other columns that say the same as one, such as ``malignant`` beside 1."""
        return [other for other in self._free if other != column and self._same(column, other)]

    @cached_property
    def _free(self) -> list[str]:
        """Columns that are neither image nor patient nor anything else that is known, and tell rows apart."""
        return [
            column
            for column in self.table.columns
            if column not in (self.image, self.patient, self.lesion)
            and column
            and self._rank(column) >= 0
            and len(self.counts[column]) >= 2
            and (self._numeric(column) or len(self.counts[column]) <= max(_MOST_CLASSES, self.rows / 2))
        ]

    def _rank(self, column: str) -> int:
        said = set(words(column))
        if said & _IS_OTHER:
            return -1
        return 2 if said & _IS_LABEL else 1 if said & _IS_FINDING else 0

    def _named(self, names: Collection[str]) -> list[str]:
        return [column for column in self.table.columns if set(names) & set(words(column)) and column != self.image]

    def _numeric(self, column: str) -> bool:
        return bool(self.counts[column]) and all(as_number(word) is not None for word in self.counts[column])

    def _different(self, columns: Sequence[str]) -> list[str]:
        kept: list[str] = []
        for column in columns:
            if not any(self._same(column, other) for other in kept):
                kept.append(column)
        return kept

    def _same(self, one: str, other: str) -> bool:
        """Whether two columns divide the rows alike."""
        pairs = {(row.cells[one], row.cells[other]) for row in self.table.rows}
        return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def find_label_tables(seen: Seen) -> list[LabelTable]:
    """Return the tables of which a column names images; one that cannot be read as a table is none."""
    if not seen.tables or not seen.images:
        return []
    found = []
    for path in seen.tables:
        table = _read(path, seen)
        image = _image_column(table, seen.called) if table is not None else None
        if table is not None and image is not None:
            found.append(LabelTable(path, table, image))
    return with_parts_joined(found)


def with_parts_joined(tables: Sequence[LabelTable]) -> list[LabelTable]:
    """Return the tables, before them one for those that are called as published parts are and say the same.

    Such as CheXpert's ``train.csv`` and ``valid.csv``. A table without the labels, as of a part whose answers are
    kept back, says something else.
    """
    groups: dict[tuple[str, str], dict[Part, LabelTable]] = defaultdict(dict)
    twice = set()
    for table in tables:
        part = _part_of(table.path)
        group = (with_split(table.path.rpartition(".")[0]), table.image)
        if part is not None:
            twice |= {group} if part in groups[group] else set()
            groups[group][part] = table
    whole, members = [], set()
    for group, parts in groups.items():
        if group not in twice and "train" in parts and len(parts) > 1 and _alike(list(parts.values())):
            ordered = {part: parts[part] for part in _PARTS if part in parts}
            joined = joined_tables({part: table.table for part, table in ordered.items()})
            files = {part: table.path for part, table in ordered.items()}
            whole.append(LabelTable(parts["train"].path, joined, parts["train"].image, files))
            members |= {table.path for table in parts.values()}
    return [*whole, *(replace(table, of_part=table.path in members) for table in tables)]


def _part_of(path: str) -> Part | None:
    """The published part that one word of a path stands for."""
    found = {PART_OF[word] for word in words(path.rpartition(".")[0]) if word in PART_OF}
    return next((part for part in _PARTS if {part} == found), None)


def _alike(tables: Sequence[LabelTable]) -> bool:
    """Whether tables say the same of their images: the columns that may be labels are in all, and hold something."""
    told = [{column for column, counts in table.counts.items() if counts} for table in tables]
    shared = told[0].intersection(*told)
    return all(_IS_OTHER & set(words(column)) for columns in told for column in columns - shared)


def folder_rows(seen: Seen) -> int:
    """Return how many rows of a table that names no image are about folders that hold images."""
    folders = {folder for file in seen.files for folder in file.folders}
    known = {table.path for table in seen.label_tables}
    for path in seen.tables if len(folders) > 1 else ():
        table = None if path in known else _read(path, seen)
        for column in table.columns if table is not None else ():
            cells = [row.cells[column] for row in (table.rows if table is not None else ())]
            if sum(cell in folders for cell in cells) >= _NAMING * len(cells) and len(set(cells)) > 1:
                return len(cells)
    return 0


def _read(path: str, seen: Seen) -> Table | None:
    try:
        if seen.head(path).count(b",", 0, seen.head(path).find(b"\n")) > _MOST_COLUMNS:
            return None
        table = read_table(path, seen.read)
    except FILE_ERRORS:
        return None
    return table if table.rows else None


def _image_column(table: Table, names: Collection[str]) -> str | None:
    rows = [table.rows[place].cells for place in spread(range(len(table.rows)), _SAMPLE)]
    shares: dict[str, float] = {}
    for column in table.columns:
        cells = [row[column].replace("\\", "/").rstrip("/").rpartition("/")[2] for row in rows]
        different = len({row[column] for row in rows}) >= _DIFFERENT * len(rows)
        hits = sum(cell in names or strip_suffix(cell) in names for cell in cells if cell)
        shares[column] = hits / len(cells) if different else 0.0
    best = max(shares.values())
    likely = [column for column, share in shares.items() if share == best]
    named = [column for column in likely if _NAMES & set(words(column))]
    return (named or likely)[0] if best >= _NAMING else None
