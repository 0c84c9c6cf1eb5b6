"""How many cases a metric needs before it is shown: an average precision of 1.000 from one image says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from medloom.evaluation.labels.questions import Question
from medloom.metrics import FEWEST_CASES
from medloom.wording import counted

__all__ = ["Basis", "basis_of_classes", "basis_of_labels", "basis_of_numbers", "basis_of_question"]

_BOTH = ("roc_auc", "average_precision", "balanced_accuracy", "mcc")
"""Metrics of a question that compare positive and negative cases."""

_OF_CLASSES = ("roc_auc", "average_precision", "f1", "balanced_accuracy", "mcc")
"""Metrics over several classes in which each of them counts alike."""

_ALL = ("accuracy", "exact_match", "brier", "log_loss", "ece", "ece_mass", "mae", "rmse", "r2", "spearman")


@dataclass(frozen=True)
class Basis:
    """What metrics stand on.

    Args:
        sizes: How many cases count in a metric, where it is not ``cases``.
        cases: How many cases count in all others.
        lacks: For each metric that is not shown, what there is too little of, such as ``1 positive``.
        notes: What else is to be said of a metric, such as over how many labels it is a mean.
    """

    sizes: Mapping[str, int]
    cases: int
    lacks: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)


def basis_of_question(question: Question) -> Basis:
    """Return what the metrics of one yes-or-no question stand on."""
    positives, called = int(question.truth.sum()), int(question.decision.sum())
    cases = len(question.truth)
    negatives, others = cases - positives, cases - called
    counts = {
        "sensitivity": (positives, counted(positives, "positive")),
        "specificity": (negatives, counted(negatives, "negative")),
        "precision": (called, f"{called} called positive"),
        "npv": (others, f"{others} called negative"),
    }
    lacks = {name: text for name, (count, text) in counts.items() if count < FEWEST_CASES}
    fewer = min((positives, counted(positives, "positive")), (negatives, counted(negatives, "negative")))
    if fewer[0] < FEWEST_CASES:
        lacks |= dict.fromkeys(_BOTH, fewer[1])
    if positives < FEWEST_CASES:
        lacks["f1"] = counted(positives, "positive")
    sizes = {name: count for name, (count, _) in counts.items()}
    return Basis(sizes, cases, {**_too_few(cases), **lacks})


def basis_of_classes(questions: Sequence[Question]) -> Basis:
    """Return what the metrics over several classes, each a question against the rest, stand on."""
    counts = [(int(question.truth.sum()), question.name) for question in questions]
    cases = len(questions[0].truth)
    few = [(count, name) for count, name in counts if count < FEWEST_CASES]
    lacks = dict.fromkeys(_OF_CLASSES, _of_classes(few)) if few else {}
    return Basis({}, cases, {**_too_few(cases), **lacks})


def basis_of_labels(questions: Sequence[Question], means: Iterable[str], whole: int, cases: int) -> Basis:
    """Return what the metrics over several labels stand on.

    Args:
        questions: Whether each label is there.
        means: The metrics that are means over the labels that have enough cases.
        whole: How many cases have no unknown label.
        cases: How many cases there are.
    """
    each = [basis_of_question(question).lacks for question in questions]
    lacks: dict[str, str] = {}
    notes: dict[str, str] = {}
    if whole < FEWEST_CASES:
        lacks["exact_match"] = counted(whole, "case with every label known", "cases with every label known")
    for name in means:
        few = [lacking[name] for lacking in each if name in lacking]
        if len(few) == len(each):
            lacks[name] = few[0] if len(few) == 1 else f"too few cases of each of {len(few)} labels"
        elif few:
            notes[name] = f"mean over {len(each) - len(few)} of {len(each)} labels; too few cases of the others"
    return Basis({"exact_match": whole}, cases, lacks, notes)


def basis_of_numbers(cases: int) -> Basis:
    """Return what the metrics of numbers stand on."""
    return Basis({}, cases, _too_few(cases))


def _too_few(cases: int) -> dict[str, str]:
    return dict.fromkeys(_ALL, counted(cases, "case")) if cases < FEWEST_CASES else {}


def _of_classes(few: Iterable[tuple[int, str]]) -> str:
    """The rarest class, and how many more are rare."""
    (count, name), *others = sorted(few)
    return f"{count} of {name}" + (
        f" and few of {counted(len(others), 'more class', 'more classes')}" if others else ""
    )
