"""Labels and scores from two files, measured as a run of Medloom would be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from medloom.data import patient_pseudonyms
from medloom.data.metadata import as_number
from medloom.errors import DataError
from medloom.evaluation.driver import write_measured
from medloom.evaluation.external.tables import Table, find_column, join, read_array, read_table, without_failed
from medloom.evaluation.family import Choice
from medloom.evaluation.labels import GROUP_PREFIX, KINDS
from medloom.evaluation.labels.point import PLAIN_THRESHOLD
from medloom.registry import check_name
from medloom.targets import KINDS as TARGETS
from medloom.targets import Target

__all__ = ["NO_PATIENTS", "ScoreOptions", "evaluate_scores"]

NO_PATIENTS = (
    "It is not known which images are of one patient: the intervals are over images, and too narrow if patients have "
    "several."
)

_IDS = ("image", "sample_id", "image_id", "image_name", "id", "file", "filename", "file_name", "name")
_TARGETS = ("truth", "label", "level", "target", "class", "diagnosis")
_PATIENTS = ("patient_id", "patient", "subject_id", "subject")
_COMMA = re.compile(r"[+-]?\d*,\d+")
_GROUPS = re.compile(r"(^|_)(sex|gender|age|site|scanner|view|institution|hospital)(_|$)", re.IGNORECASE)
_PREFIXES = ("score_", "probability_", "prob_", "p_", "predicted_", "prediction_", "")
_ALONE = ("score", "probability", "prob", "prediction", "predicted")
_MOST_CLASSES = 50
_SUM_TOLERANCE = 0.02
_BINARY = {"0", "1"}


@dataclass(frozen=True)
class ScoreOptions:
    """How the two files are to be read; what is empty is found by common names.

    Args:
        id_column: Column with the image's id, in both files or in the one that has it.
        targets: Columns with the labels.
        scores: Columns with the scores, in the order of the classes or targets.
        patient: Column of the labels with the patient.
        groups: Columns of the labels by which metrics are also taken.
        classes: Names of the classes in order, as the labels have them; of two, the second is the positive one.
        kind: What the labels are; one of ``medloom.targets.LABELS``.
        threshold: From which probability on a case is called positive; None for what the predictions say was
            decided, or else 0.5.
        partial: Whether predictions with a word in their column ``error``, and labels and predictions without a
            partner, are left out with a warning; otherwise they are problems.
    """

    id_column: str | None = None
    targets: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    patient: str | None = None
    groups: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    kind: str | None = None
    threshold: float | None = None
    partial: bool = False


def evaluate_scores(
    labels: Path, predictions: Path, folder: Path, options: ScoreOptions | None = None, resamples: int = 1000
) -> dict[str, Any]:
    """Measure scores against labels and write ``cases.csv`` and ``summary.json``.

    Nothing of the names in the files is written: a case is called by the line of its label, patients are numbered.

    Args:
        labels: CSV with an id, one or several targets, and perhaps patient and groups.
        predictions: CSV with an id and scores, perhaps ``decision``; or ``.npy`` with scores in the labels' order.
        folder: Where to write.
        options: How to read them.
        resamples: Resamples of the patients for the 95 % intervals.

    Returns:
        The summary, with ``warnings``.

    Raises:
        DataError: With everything that is wrong in both files, by line.
    """
    options = options or ScoreOptions()
    truth = read_table(labels, "labels")
    said = read_array(predictions) if predictions.suffix.lower() == ".npy" else read_table(predictions, "predictions")
    reading = _Reading(truth, without_failed(said) if options.partial else said, options)
    cases, choice = reading.cases()
    patients = reading.patient_column is not None
    summary = reading.kind.summary(cases, choice, resamples, "patients" if patients else "images")
    summary["warnings"] = [*([] if patients else [NO_PATIENTS]), *reading.notes()]
    write_measured(folder, reading.kind, cases, summary)
    return summary


class _Reading:
    """Takes two tables to one per-case table, and gathers everything that is wrong on the way."""

    def __init__(self, labels: Table, predictions: Table, options: ScoreOptions) -> None:
        self.labels, self.predictions, self.options = labels, predictions, options
        self.left_out: list[str] = []
        self.label_id = self._id(labels)
        self.prediction_id = "" if predictions.by_position else self._id(predictions)
        self.patient_column = options.patient or find_column(labels, _PATIENTS)
        self._require(labels, [options.patient, *options.groups, *options.targets])
        self._require(predictions, options.scores)
        self.targets = options.targets or (self._only_target(),)
        self.target = self._target()
        self.kind = KINDS[self.target.kind](self.target)

    def cases(self) -> tuple[pd.DataFrame, Choice]:
        """Return the per-case table with its decisions and how they were made, or raise with every problem."""
        left_out = self.left_out if self.options.partial else None
        pairs = join(self.labels, self.predictions, self.label_id, self.prediction_id, left_out=left_out)
        if not pairs and left_out:
            raise DataError("no label is about one of the predictions: their ids have nothing in common", left_out)
        columns = self._score_columns()
        decided = self._decision_columns()
        truth = {name: self._truths(column) for name, column in zip(self.kind.truth_columns, self.targets, strict=True)}
        score: dict[str, list[float]] = {
            name: self._numbers(self.predictions, column)
            for name, column in zip(self.kind.score_columns, columns, strict=True)
        }
        decisions: dict[str, list[float]] = {
            name: [self._class(self.predictions, row, column) for row in range(len(self.predictions.rows))]
            for name, column in zip(self.kind.decision_columns, decided, strict=False)
        }
        patients = self._patients()
        if self.kind.add_up:
            self._check_sums(score)
        self._raise()
        left, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        cases = pd.DataFrame({"sample_id": [f"line-{self.labels.lines[row]}" for row in left]})
        cases["patient_id"] = [patients[row] for row in left]
        cases["split"] = "test"
        for name, values in truth.items():
            cases[name] = [values[row] for row in left]
        for name, values in {**score, **decisions}.items():
            cases[name] = [values[row] for row in right]
        for column in self._group_columns():
            cases[f"{GROUP_PREFIX}{column}"] = [self.labels.rows[row][column] for row in left]
        return self._decided(cases, given=bool(decided))

    def notes(self) -> list[str]:
        """Say what was guessed and may be wrong."""
        names = self.target.names
        if self.kind.positive is None or self.options.classes or set(names) == _BINARY:
            return self.left_out
        return [
            *self.left_out,
            f"{names[1]} was taken for the positive class, not {names[0]}; say which with --classes NEGATIVE,POSITIVE.",
        ]

    def _decided(self, cases: pd.DataFrame, *, given: bool) -> tuple[pd.DataFrame, Choice]:
        """Take the decisions that came with the predictions, or make them."""
        choice = self.kind.chosen((), "as the predictions say") if given else self._choice()
        made = cases if given else self.kind.decide(cases, choice.point["thresholds"])
        groups = [name for name in made.columns if str(name).startswith(GROUP_PREFIX)]
        return made[["sample_id", "patient_id", "split", *self.kind.columns, *groups]], choice

    def _choice(self) -> Choice:
        """The threshold that was named, or 0.5; none where the kind of labels has none."""
        if not self.kind.asked:
            return self.kind.chosen((), self.kind.rule)
        threshold = PLAIN_THRESHOLD if self.options.threshold is None else self.options.threshold
        return self.kind.chosen((threshold,) * len(self.kind.asked), "given, and not chosen on these cases")

    def _id(self, table: Table) -> str:
        wanted = self.options.id_column
        if wanted and not any(find_column(one, [wanted]) for one in (self.labels, self.predictions)):
            raise DataError(f"the {table.what} have no column {wanted}; they have {', '.join(table.columns)}")
        return find_column(table, [*([wanted] if wanted else []), *_IDS]) or table.columns[0]

    def _require(self, table: Table, names: Sequence[str | None]) -> None:
        missing = [name for name in names if name and name not in table.columns]
        if missing:
            raise DataError(
                f"the {table.what} have no column {' and no column '.join(missing)}; they have "
                f"{', '.join(table.columns)}"
            )

    def _only_target(self) -> str:
        found = find_column(self.labels, _TARGETS)
        others = [
            name
            for name in self.labels.columns
            if name not in (self.label_id, self.patient_column) and not _GROUPS.search(name)
        ]
        if found or len(others) == 1:
            return found or others[0]
        raise DataError(
            f"which column of the labels is the target? They have {', '.join(self.labels.columns)}; name it "
            "with --target, several with --target each"
        )

    def _target(self) -> Target:
        """Find out what the labels are."""
        values = [sorted({cell for cell in self.labels.column(name) if cell}, key=_natural) for name in self.targets]
        kind = self.options.kind or self._kind(values)
        check_name("kind of labels", kind, KINDS)
        traits = TARGETS[kind]
        if traits.names == "targets":
            return Target(kind, self.targets)
        classes = self.options.classes or tuple(values[0])
        if traits.most == len(_BINARY) and set(classes) <= _BINARY:
            classes = ("0", "1")
        if len(classes) < traits.fewest or (traits.most is not None and len(classes) > traits.most):
            raise DataError(
                f"column {self.targets[0]} of the labels holds {len(classes)} classes; expected "
                f"{'two' if traits.most else 'at least two'}. Name all of them with --classes"
            )
        if len(classes) > _MOST_CLASSES:
            raise DataError(
                f"column {self.targets[0]} of the labels holds {len(classes)} different values; is it the target? "
                "Name it with --target, or say --kind regression for numbers"
            )
        return Target(kind, classes)

    def _kind(self, values: Sequence[Sequence[str]]) -> str:
        every = {cell for one in values for cell in one}
        if len(self.targets) > 1:
            return "multi-label" if every <= _BINARY else "regression"
        if self.options.classes:
            return "binary" if len(self.options.classes) == 2 else "multi-class"
        if every <= _BINARY or len(every) == 2:
            return "binary"
        whole = all(re.fullmatch(r"-?\d+", cell) for cell in every)
        numeric = all(as_number(cell) is not None for cell in every)
        return "regression" if numeric and not whole else "multi-class"

    def _truths(self, column: str) -> list[float]:
        if not self.kind.cells:
            return self._numbers(self.labels, column)
        return [self._class(self.labels, row, column) for row in range(len(self.labels.rows))]

    def _class(self, table: Table, row: int, column: str) -> int:
        """Index of a class by its name; of a label, of 0 and 1."""
        cell = table.rows[row][column]
        names = self.kind.cells
        if cell in names:
            return names.index(cell)
        number = as_number(cell)
        if number is not None and number.is_integer():  # 1.0, or the index of a class in the predictions
            text = str(int(number))
            if text in names:
                return names.index(text)
            if table is self.predictions and 0 <= number < len(names):
                return int(number)
        expected = ", ".join(names[:12])
        table.report(row, f"{'unknown class' if cell else 'nothing'} in column {column}; expected one of {expected}")
        return 0

    def _numbers(self, table: Table, column: str) -> list[float]:
        found = []
        for row, cell in enumerate(table.column(column)):
            number = as_number(cell)
            if number is None:
                hint = "; decimal commas are read where semicolons divide the cells" if _COMMA.fullmatch(cell) else ""
                table.report(row, f"no finite number in column {column}{hint}")
            elif self.kind.probabilities and not 0 <= number <= 1:
                table.report(row, f"a value outside 0 to 1 in column {column}; expected a probability")
            found.append(0.0 if number is None else number)
        return found

    def _check_sums(self, score: dict[str, list[float]]) -> None:
        totals = np.array(list(score.values())).sum(axis=0)
        for row in np.flatnonzero(np.abs(totals - 1.0) > _SUM_TOLERANCE):
            self.predictions.report(int(row), "the probabilities of the classes do not add up to 1")

    def _score_columns(self) -> list[str]:
        wanted = len(self.kind.score_columns)
        if self.options.scores:
            if len(self.options.scores) != wanted:
                raise DataError(f"{len(self.options.scores)} score columns were named; expected {wanted}")
            return list(self.options.scores)
        if wanted == 1:
            return [self._only_score()]
        by_name, by_index = self._named(self.target.names), self._named(range(wanted), numbered=True)
        found = by_name if None not in by_name else by_index  # never a mixture: class 1 is not the column of index 1
        if None in found:
            missing = [name for name, column in zip(self.target.names, by_name, strict=True) if column is None]
            raise DataError(
                f"the predictions have no score column for {', '.join(missing)}; they have "
                f"{', '.join(self.predictions.columns)}. Expected names such as score_{missing[0]}, or name them with "
                "--score, in the order of the classes"
            )
        return cast("list[str]", found)

    def _named(self, names: Iterable[object], *, numbered: bool = False) -> list[str | None]:
        """The score column of each name; a bare number is no name of a column."""
        prefixes = [prefix for prefix in _PREFIXES if prefix or not numbered]
        return [find_column(self.predictions, [f"{prefix}{name}" for prefix in prefixes]) for name in names]

    def _only_score(self) -> str:
        """The score of the positive class, or the predicted value."""
        last = len(self.target.names) - 1
        found = find_column(self.predictions, _ALONE) or self._named(self.target.names[-1:])[0]
        found = found or self._named([last], numbered=True)[0] or find_column(self.predictions, self.targets)
        skipped = (self.prediction_id.lower(), "decision", "split", "error")
        others = [column for column in self.predictions.columns if column.lower() not in skipped]
        if found or len(others) == 1:
            return found or others[0]
        raise DataError(
            f"which column of the predictions is the score? They have {', '.join(self.predictions.columns)}; name it "
            "with --score"
        )

    def _decision_columns(self) -> list[str]:
        """Columns that say what was decided; none unless they are complete, and where a threshold is to decide."""
        if self.options.threshold is not None and self.kind.asked:
            return []
        columns = self.kind.decision_columns
        named = [f"decision_{name}" for name in self.target.names] if len(columns) == len(self.target.names) else []
        pairs = zip_longest(named, columns)
        found = [find_column(self.predictions, [name for name in pair if name]) for pair in pairs]
        return [] if None in found else cast("list[str]", found)

    def _patients(self) -> list[str]:
        """Pseudonyms of the patients, numbered as they come; of the images where no patient is known."""
        if self.patient_column is None:
            return [f"line-{line}" for line in self.labels.lines]
        cells = self.labels.column(self.patient_column)
        for row, cell in enumerate(cells):
            if not cell:
                self.labels.report(row, f"nothing in column {self.patient_column}; expected the patient")
        pseudonyms = patient_pseudonyms(cells)
        return [pseudonyms[cell] for cell in cells]

    def _group_columns(self) -> list[str]:
        taken = (self.label_id, self.patient_column, *self.targets)
        return list(self.options.groups) or [
            name for name in self.labels.columns if name not in taken and _GROUPS.search(name)
        ]

    def _raise(self) -> None:
        problems = [*self.labels.all_problems(), *self.predictions.all_problems()]
        if not problems and not self.labels.rows:
            problems = ["labels: no row below the header"]
        if problems:
            raise DataError("labels and predictions do not fit together", problems)


def _natural(cell: str) -> tuple[int, float, str]:
    number = as_number(cell)
    return (1, 0.0, cell) if number is None else (0, number, cell)
