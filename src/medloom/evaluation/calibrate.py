"""Fitting a calibration on validation cases, and what it changed on those that are measured.

Only validation is looked at, with the probabilities of the very model, views and runtime that are served. Operating
points are chosen after it. An output of which validation holds too few cases keeps its probabilities; a note says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from medloom.inference.calibration import Calibration, Curve, Method, log_of, logit_of
from medloom.metrics import FEWEST_CASES, fit_isotonic, fit_sigmoid, fit_softmax, smoothed
from medloom.metrics.scaling import SCALES
from medloom.wording import counted

__all__ = ["FEWEST", "Asked", "Fitted", "calibrate_classes", "calibrate_questions"]

Floats32 = NDArray[np.float32]
Asked = Method | Literal["none"]
"""What a recipe may ask for."""

FEWEST: Mapping[Method, tuple[int, int]] = {
    "temperature": (2 * FEWEST_CASES, FEWEST_CASES),
    "platt": (2 * FEWEST_CASES, 3),
    "isotonic": (100, 20),
}
"""How many validation cases there must be, and how many of them of either answer, or of each class."""

_SCALED = 2 * FEWEST_CASES
"""Of ``platt``: from so many cases of either answer on a temperature is fitted as well; of fewer the shift alone, which
takes back what oversampling added to every logit and needs little more than the share of positives."""

_DIGITS = 6
_AS_IT_IS = (1.0, 0.0)
_OF_FOLDS = (
    "each fold on its own validation patients, of which the metrics are; the bundle calibrates the mean of the folds' "
    "networks by the mean of their calibrations, which no patient was left to measure."
)


@dataclass(frozen=True)
class Fitted:
    """A calibration, and what a reader should know of it.

    Args:
        calibration: None where probabilities stay as they are.
        notes: Why some were not calibrated.
        text: What was fitted, in a sentence; empty where there is nothing to say.
    """

    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()
    text: str = ""

    def plain(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        return {"fitted": None if self.calibration is None else self.calibration.plain(), "text": self.text}

    @classmethod
    def of_folds(cls, summaries: Sequence[Mapping[str, Any]]) -> Self:
        """Return what calibrates the mean of the folds' networks: the mean of what calibrates each.

        Args:
            summaries: The summary of each fold.
        """
        plain = [one.get("calibration", {}).get("fitted") for one in summaries]
        found = Calibration.mean([None if one is None else Calibration.from_plain(one) for one in plain])
        return cls() if found is None else cls(found, text=_OF_FOLDS)


def calibrate_questions(
    questions: Iterable[tuple[str, NDArray[np.bool_], Floats32]], asked: Asked, *, of: str = "validation cases"
) -> Fitted:
    """Fit each of several yes-or-no questions by itself.

    Args:
        questions: Name, truth (N,) and probability (N,) of each, of the cases whose truth is known.
        asked: How.
        of: On what, for people.
    """
    if asked == "none":
        return Fitted()
    fits: list[tuple[float, float]] = []
    curves: list[Curve] = []
    notes, texts = [], []
    for name, truth, score in questions:
        note = _too_few(name, np.bincount(truth.astype(int), minlength=2), asked)
        notes += [note] if note else []
        if asked == "isotonic":
            curves.append(Curve() if note else _curve(truth, score))
        else:
            target, rarest = smoothed(truth.astype(np.int64), 2)[:, 1], int(min(truth.sum(), (~truth).sum()))
            moves, scales = asked == "platt", _scales(asked, rarest)
            fits.append(_AS_IT_IS if note else fit_sigmoid(logit_of(score), target, shift=moves, scales=scales))
        texts += [] if note else [_words(name, fits[-1] if fits else None, asked)]
    if not texts:
        return Fitted(notes=tuple(notes))
    scale, shift = (tuple(round(one[at], _DIGITS) for one in fits) for at in (0, 1))
    return Fitted(Calibration(asked, scale, shift, tuple(curves)), tuple(notes), f"{', '.join(texts)}: on the {of}.")


def calibrate_classes(
    names: Sequence[str],
    truth: NDArray[np.int64],
    scores: Floats32,
    asked: Asked,
    *,
    each: bool = False,
    of: str = "validation cases",
) -> Fitted:
    """Fit several classes that exclude each other, together.

    Args:
        names: The classes.
        truth: Class index of each case, (N,).
        scores: Probability of each class, (N, K).
        asked: How.
        each: Whether each class has a temperature of its own.
        of: On what, for people.
    """
    if asked == "none":
        return Fitted()
    counts = np.bincount(truth, minlength=len(names))
    note = _too_few(names[int(counts.argmin())], counts, asked)
    if note:
        return Fitted(notes=(note,))
    if asked == "isotonic":
        curves = tuple(_curve(truth == index, scores[:, index]) for index in range(len(names)))
        return Fitted(Calibration(asked, curves=curves), text=f"isotonic maps, one for each class: on the {of}.")
    scales = _scales(asked, int(counts.min()))
    found = fit_softmax(log_of(scores), smoothed(truth, len(names)), shift=asked == "platt", each=each, scales=scales)
    scale, shift = (tuple(round(float(value), _DIGITS) for value in values) for values in found)
    said = [_words(name, pair, asked) for name, pair in zip(names, zip(scale, shift, strict=True), strict=True)]
    text = f"temperature {1 / scale[0]:.3g}" if asked == "temperature" and not each else ", ".join(said)
    return Fitted(Calibration(asked, scale, shift), text=f"{text}: on the {of}.")


def _scales(asked: Method, rarest: int) -> tuple[float, float]:
    return (1.0, 1.0) if asked == "platt" and rarest < _SCALED else SCALES


def _curve(truth: NDArray[np.bool_], score: Floats32) -> Curve:
    x, y = fit_isotonic(score, truth)
    return Curve(tuple(x.tolist()), tuple(y.tolist()))


def _words(name: str, fit: tuple[float, float] | None, asked: Asked) -> str:
    say: Mapping[str, Callable[[float, float], str]] = {
        "temperature": lambda scale, shift: f"{name} temperature {1 / scale:.3g}",
        "platt": lambda scale, shift: (
            f"{name} {f'temperature {1 / scale:.3g} and ' if scale != 1 else ''}shift {shift:+.3g}"
        ),
        "isotonic": lambda scale, shift: f"{name} isotonic map",
    }
    return say[asked](*(fit or _AS_IT_IS))


def _too_few(name: str, counts: NDArray[np.int64], asked: Method) -> str:
    """Why there are too few cases to fit by; empty if there are enough."""
    cases, least = FEWEST[asked]
    if counts.sum() >= cases and counts.min() >= least:
        return ""
    return (
        f"{name}: not calibrated, for validation has {counted(int(counts.sum()), 'case')}, {int(counts.min())} of the "
        f"rarest answer; {asked} needs {cases} and {least}"
    )
