"""``csv``: images anywhere, and a CSV with a row for each: label, patient, metadata.

The image column names a file with or without folder and extension. Everything that is wrong with the file is said in
one pass with its line numbers; a row or an image that is concerned is a sample that cannot be used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from medloom.data.kinds import truth_of
from medloom.data.layouts.base import Item, Listing, Problem, Read, list_images, natural_key
from medloom.data.layouts.labels import ANY_LABELS, LabelError, LabelRule, Meaning, clean, understand
from medloom.data.layouts.part_tables import Part, joined_tables
from medloom.data.layouts.patients import HINT, PatientPattern, without_fractions
from medloom.data.layouts.repeated import Labelled, joined_rows
from medloom.data.layouts.table import Row, Table, find_table, read_table
from medloom.data.metadata import as_number, is_blank
from medloom.errors import DataError
from medloom.imaging import strip_suffix
from medloom.recipe import LabelsRecipe, Recipe
from medloom.wording import counted

__all__ = ["Columns", "CsvLabels", "build"]

_NO_IMAGES = (".csv", ".tsv", ".txt", ".md", ".json", ".xml", ".html", ".pdf", ".xlsx", ".yaml", ".yml", ".zip")
_STRAY = "its folder has no such file; one of this name lies in another folder, and is not taken for it"


@dataclass(frozen=True)
class _Match:
    """A row with the only file that its image column can mean."""

    row: Row
    path: str


@dataclass(frozen=True)
class Columns:
    """What the columns of a label file beside the labels are.

    Args:
        image: The image's name, with or without folder and extension.
        patient: The patient; None: see ``CsvLabels``.
        numeric: Metadata that are numbers.
        categorical: Metadata that are words.
        groups: What the metrics are also reported by.
    """

    image: str = "image"
    patient: str | None = None
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


_PLAIN = Columns()


class CsvLabels:
    """Samples by the rows of a CSV.

    Args:
        rule: Which columns hold the labels, and what they are.
        columns: What the others are.
        file: Path of the label file, or its end; None: the only CSV or TSV.
        files: In place of ``file``: that of each published part.
        patient_pattern: Where no column holds the patient: regular expression with one group that finds it in a file's
            name; None: every image is a patient of its own.
        repeated: What several rows about one image mean: ``refuse``, ``agree`` or ``any``, as the recipe's
            ``data.labels.repeated``.

    Example:
        >>> files = {"labels.csv": b"image,level\\n001,0\\n002,1\\n", "a/001.png": b"", "a/002.png": b""}
        >>> [item.labels for item in CsvLabels().find(list(files), files.__getitem__).items]
        [(0.0,), (1.0,)]
    """

    def __init__(
        self,
        rule: LabelRule = ANY_LABELS,
        columns: Columns = _PLAIN,
        file: str | None = None,
        patient_pattern: str | None = None,
        repeated: str = "refuse",
        files: Mapping[Part, str] | None = None,
    ) -> None:
        self._file, self._given, self._repeated = file, columns, repeated
        self._parts = dict(files or {})
        self._pattern = PatientPattern(patient_pattern)
        self._rule = replace(rule, columns=tuple(map(clean, rule.columns)))
        self._image, self._patient = clean(columns.image), clean(columns.patient) if columns.patient else None
        self._numeric = tuple(map(clean, columns.numeric))
        self._meta = tuple(dict.fromkeys(map(clean, (*columns.numeric, *columns.categorical, *columns.groups))))

    def find(self, names: Sequence[str], read: Read) -> Listing:
        """Return the rows with their images.

        Args:
            names: Relative POSIX paths.
            read: Gives the bytes of the CSV.

        Returns:
            The samples. Problems are rows without an image, with several, with a label or a metadata value that does
            not fit, without a patient, or for an image that another row is about; and images without a row, in folders
            that hold images with one.

        Raises:
            DataError: If there is no CSV or more than one, if it cannot be read, or if its labels mean nothing.
            RecipeError: If the recipe's kind of labels cannot be with its targets.
        """
        table, tables = self._table(names, read)
        if not table.rows:
            raise DataError(f"{table.name} has no row that can be used", [str(problem) for problem in table.problems])
        files = _Files((name for name in names if name not in tables), [row.cells[self._image] for row in table.rows])
        matches, problems = self._matched(table, files)
        single, doubles = self._without_doubles(table, matches) if self._repeated == "refuse" else (matches, [])
        meaning = understand([self._words(row) for row in table.rows], self._rule)
        labelled, flawed = self._items(table, single, meaning)
        joined = joined_rows(labelled, table, meaning.target, unite=self._repeated == "any")
        items, flawed = joined.items, [*flawed, *joined.problems]
        missing, notes = files.without_row(read)
        items.sort(key=lambda item: (natural_key(item.patient), natural_key(item.sample)))
        found = [*table.problems, *problems, *doubles, *flawed]
        found.sort(key=lambda problem: natural_key(problem.file))
        listing = meaning.listing(items, [*found, *missing], (*joined.notes, *notes))
        said = f"the column {self._patient}" if self._patient else self._pattern.source
        return replace(listing, patients=said, patients_hint=HINT)

    def expects(self) -> str:
        """Return what files it looks for."""
        return f"a CSV whose column {self._given.image} names the images"

    def rules(self) -> dict[str, Any]:
        """Return what decides which pixels belong to a sample."""
        return {"layout": "csv", "version": 1}

    def _table(self, names: Sequence[str], read: Read) -> tuple[Table, set[str]]:
        """The table, or one of all parts, and the files that it is in."""
        found = {part: find_table(names, end, f"data.labels.files.{part}") for part, end in self._parts.items()}
        paths = list(found.values()) or [find_table(names, self._file)]
        tables = [read_table(path, read) for path in paths]
        for table in tables:
            self._check_columns(table)
        return (joined_tables(dict(zip(found, tables, strict=True))) if found else tables[0]), set(paths)

    def _check_columns(self, table: Table) -> None:
        given = self._given
        table.need(
            {
                "data.labels.image": (given.image,),
                "target.columns": self._rule.columns,
                "data.labels.patient": (given.patient,) if given.patient else (),
                "data.labels.metadata": (*given.numeric, *given.categorical),
                "data.labels.groups": given.groups,
            }
        )

    def _words(self, row: Row) -> tuple[str, ...]:
        return tuple(row.cells[target] for target in self._rule.columns)

    def _matched(self, table: Table, files: _Files) -> tuple[list[_Match], list[Problem]]:
        matches, problems = [], []
        for row in table.rows:
            where, value = table.where(row.line), row.cells[self._image]
            paths = files.named(value)
            if len(paths) == 1:
                matches.append(_Match(row, paths[0]))
            elif paths:
                problems.append(Problem("ambiguous", where, f"{len(paths)} files have this name; give their folders"))
            elif not value:
                problems.append(Problem("missing_image", where, f"nothing in the column {self._image}"))
            else:
                hint = files.padded(value)
                problems.append(Problem("missing_image", where, f"no file is called {value!r}{hint}"))
        cells = [row.cells[self._image] for row in table.rows]
        strays = _strays([(match.row.cells[self._image], match.path) for match in matches], cells)
        problems += [Problem("missing_image", table.where(matches[at].row.line), _STRAY) for at in sorted(strays)]
        return [match for at, match in enumerate(matches) if at not in strays], problems

    def _items(self, table: Table, matches: Sequence[_Match], meaning: Meaning) -> tuple[list[Labelled], list[Problem]]:
        items, problems = [], []
        column = self._patient
        same = without_fractions(row.cells[column] for row in table.rows) if column else {}
        numbers = cache(meaning.numbers)  # a few different labels say all of most tables
        for match in matches:
            where, cells = table.where(match.row.line), match.row.cells
            flaw = self._flaw(cells)
            try:
                labels = numbers(self._words(match.row))
            except LabelError as error:
                problems.append(Problem("label", where, str(error) + (f"; {flaw[1]}" if flaw else "")))
                continue
            if flaw:
                problems.append(Problem(flaw[0], where, flaw[1]))
                continue
            patient = cells[self._patient] if self._patient else self._pattern(match.path)
            meta = {column: cells[column] for column in self._meta}
            known = self._patient is not None or patient != match.path
            patient = same.get(patient, patient)
            part = table.part(match.row.line)
            item = Item(patient, match.path, (match.path,), "", labels, meta, published=part, known=known)
            items.append(Labelled(match.row.line, item))
        return items, problems

    def _without_doubles(self, table: Table, matches: Sequence[_Match]) -> tuple[list[_Match], list[Problem]]:
        """Rows that are alone with their image; of equal rows the first. Rows that contradict each other all go."""
        rows: dict[str, list[_Match]] = defaultdict(list)
        for match in matches:
            rows[match.path].append(match)
        single, problems = [], []
        for same in rows.values():
            first, *others = same
            if not others or len({self._content(match.row, table) for match in same}) == 1:
                single.append(first)
                line = table.where(first.row.line).removeprefix(f"{table.name} ")
                detail = f"about the same image as {line}, with the same label"
                problems += [_double(table, match, detail) for match in others]
            else:
                lines = table.lines([match.row.line for match in same])
                detail = f"{lines} are about one image and differ in its {table.says}"
                problems += [_double(table, match, detail) for match in same]
        return single, problems

    def _content(self, row: Row, table: Table) -> tuple[str, ...]:
        """What of a row is used."""
        used = (*self._rule.columns, *((self._patient,) if self._patient else ()), *self._meta)
        return (table.part(row.line), *(row.cells[column] for column in used))

    def _flaw(self, cells: Mapping[str, str]) -> tuple[str, str] | None:
        """What is wrong with a row beside its label."""
        wrong = [column for column in self._numeric if not is_blank(cells[column]) and as_number(cells[column]) is None]
        if wrong:
            return "metadata", f"no number in {', '.join(wrong)}; expected one, or nothing where it is not known"
        if self._patient and is_blank(cells[self._patient]):
            return "label", f"no patient in {self._patient}"
        return None


def build(recipe: Recipe) -> CsvLabels:
    """Return the layout with a recipe's columns."""
    labels = LabelsRecipe.of(recipe).data.labels
    meta = labels.metadata
    columns = Columns(labels.image, labels.patient, meta.numeric, meta.categorical, labels.groups)
    rule = truth_of(recipe).label_rule(recipe) or ANY_LABELS
    return CsvLabels(rule, columns, labels.file, labels.patient_pattern, labels.repeated, labels.files)


class _Files:
    """Finds files by what a table calls them.

    Args:
        names: The files.
        cells: All that the table calls images. Folders that all of them have may be above the data, as where a table
            says ``set/train/p1/a.jpg`` and the data are the folder ``set``.
    """

    def __init__(self, names: Iterable[str], cells: Iterable[str]) -> None:
        self._above = _common_folders(cells)
        self._images = [name for name in names if not name.lower().endswith(_NO_IMAGES)]
        self._by_name: dict[str, _Namesakes] = defaultdict(_Namesakes)
        self._by_stem: dict[str, _Namesakes] = defaultdict(_Namesakes)
        self._taken: set[str] = set()
        for path in self._images:
            name = clean(path).rpartition("/")[2]
            self._by_name[name].paths.append(path)
            self._by_stem[strip_suffix(name)].paths.append(path)

    def named(self, value: str) -> list[str]:
        """Return the files that a cell may mean: with its extension if one has it, in its folder if one is there."""
        folder, _, name = _as_path(value).rpartition("/")
        found = self._by_name.get(name) or self._by_stem.get(name) or self._by_stem.get(strip_suffix(name))
        if found is None or not name:
            return []
        chosen = (self._inside(found, folder) if folder else []) or found.paths
        self._taken.update(chosen)
        return chosen

    def _inside(self, found: _Namesakes, folder: str) -> list[str]:
        """Which files lie in a folder, named from as far above as any of them are."""
        parts = folder.split("/")
        ends = ("/".join(parts[above:]) for above in range(self._above + 1))
        return next((inside for end in ends if (inside := found.by_folder.get(end))), [])

    @cached_property
    def _by_number(self) -> dict[str, str]:
        return {number: stem for stem in self._by_stem if (number := _digits(stem))}

    def padded(self, value: str) -> str:
        """Say so where a number misses its leading zeros, which spreadsheets take away."""
        number = _digits(value.removesuffix(".0"))
        stem = self._by_number.get(number) if number else None
        return f"; one is called {stem!r}: write the column as text, so that it keeps its leading zeros" if stem else ""

    def without_row(self, read: Read) -> tuple[list[Problem], tuple[str, ...]]:
        """Return the images that no row named: problems beside images that one did, counted in a note elsewhere."""
        left = list_images((path for path in self._images if path not in self._taken), read)
        folders = {path.rpartition("/")[0] for path in self._taken}
        missing = [path for path in left if path.rpartition("/")[0] in folders]
        others = len(left) - len(missing)
        problems = [Problem("missing_row", path, "an image without a row in the label file") for path in missing]
        elsewhere = counted(others, "image is in a folder", "images are in folders")
        note = f"{elsewhere} of which the label file names none: left out"
        return problems, (note,) if others else ()


def _strays(named: Sequence[tuple[str, str]], cells: Sequence[str]) -> set[int]:
    """Which rows got a file of their name that lies in another folder, as their own file is not there.

    Folders count where the table has one name in several of them and some file lies in the folder that is said. Else
    the table may have been written for other folders, and names tell the images apart.
    """
    different = {_as_path(cell) for cell in cells}
    if len({path.rpartition("/")[2] for path in different}) == len(different):
        return set()
    folders = [(_as_path(cell).split("/")[:-1], clean(path).split("/")[:-1]) for cell, path in named]
    if not any(said and there and _ends_alike(said, there) for said, there in folders):
        return set()
    return {at for at, (said, there) in enumerate(folders) if not _ends_alike(said, there)}


def _ends_alike(said: Sequence[str], there: Sequence[str]) -> bool:
    shared = min(len(said), len(there))
    return not shared or said[-shared:] == there[-shared:]


class _Namesakes:
    """Files of one name, such as the ``view1_frontal.jpg`` of every study."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    @cached_property
    def by_folder(self) -> dict[str, list[str]]:
        """By every end of their folders, so that no row has to look through all of them."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            folders = clean(path).split("/")[:-1]
            for place in range(len(folders)):
                found["/".join(folders[place:])].append(path)
        return found


def _as_path(cell: str) -> str:
    return cell.replace("\\", "/").strip("/").removeprefix("./")


def _common_folders(cells: Iterable[str]) -> int:
    """How many folders at their beginning all cells share."""
    folders = {tuple(_as_path(cell).split("/")[:-1]) for cell in cells}
    first, last = (min(folders), max(folders)) if folders else ((), ())
    return next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other),
                min(len(first), len(last)))  # fmt: skip


def _digits(name: str) -> str:
    """A number without its leading zeros; empty for any other name."""
    return (name.lstrip("0") or "0") if name.isascii() and name.isdecimal() else ""


def _double(table: Table, match: _Match, detail: str) -> Problem:
    return Problem("duplicate", table.where(match.row.line), detail)
