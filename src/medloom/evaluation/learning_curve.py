"""What trainings on growing shares of the patients say together: how a metric rises, and what more would bring.

All of them are measured on the same patients. So the patients are drawn once for all of them, and what is uncertain
about one point is uncertain about the others in the same way. Where shares were trained several times, the trainings
are drawn as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from medloom.evaluation.comparison import drawn_metrics
from medloom.evaluation.family import Facts, Family
from medloom.evaluation.metrics import Metric, interval_facts, meanings
from medloom.evaluation.seeds import spread
from medloom.metrics import FEWEST_SIZES, Resampled, fit_power_law, fit_power_laws, percentile_interval
from medloom.wording import counted, metric_text

__all__ = ["Point", "curve_facts"]

Floats64 = NDArray[np.float64]

_AHEAD = 2.0
"""Up to so many times as many patients the fitted law is followed; further than that it is a guess."""

_DRAWN, _PLACES = 400, 60
_LEAST = 0.0005
"""A change that is smaller is none; of metrics with a unit, as a share of the metric."""

_SEED = 1


@dataclass(frozen=True, eq=False)
class Point:
    """One training of a learning curve, measured.

    Args:
        share: Of the training patients.
        repeat: Which of the trainings with that share, from 0.
        patients: Patients that it learned from; None where they are not known.
        samples: Images that it learned from.
        cases: The per-case table, of the part that all are measured on.
    """

    share: float
    repeat: int
    patients: int | None
    samples: int
    cases: pd.DataFrame


def curve_facts(family: Family, points: Sequence[Point], resamples: int, over: str) -> Facts:
    """Return what the trainings of a learning curve say.

    Args:
        family: How the kind of answer is measured.
        points: Every training, by rising share; as many of each.
        resamples: Resamples of the patients.
        over: What is drawn: ``patients``, or ``images`` where it is not known whose they are.

    Returns:
        ``sizes`` (by share: ``patients``, ``samples``), ``repeats``, ``metrics`` by headline (``points``, ``rise`` from
        the smallest share to the largest, ``fit`` or None, ``curve``, ``doubled``, and ``text``), ``withheld``,
        ``interval``, ``headlines`` and ``meanings``.
    """
    shares = sorted({one.share for one in points})
    rows = [[one for one in points if one.share == share] for share in shares]
    draws = [[drawn_metrics(family, _sorted(family, one.cases), resamples) for one in row] for row in rows]
    withheld = {name: why for one in points for name, why in family.withheld(one.cases).items()}
    known = [
        name
        for name in family.headlines
        if name not in withheld and all(_has(one, name) for row in draws for one in row)
    ]
    counts = "samples" if any(one.patients is None for one in points) else "patients"
    sizes = np.array([np.mean([getattr(one, counts) for one in row]) for row in rows])
    return {
        "counted": "images" if counts == "samples" else "patients",
        "sizes": [_size(share, row) for share, row in zip(shares, rows, strict=True)],
        "repeats": len(rows[0]),
        "metrics": {name: _Curve(family.metrics[name], name, sizes, draws, counts).facts() for name in known},
        "withheld": {name: why for name, why in withheld.items() if name in family.headlines},
        "interval": interval_facts(resamples, over),
        "headlines": known,
        "meanings": meanings({name: family.metrics[name] for name in known}),
    }


def _sorted(family: Family, cases: pd.DataFrame) -> pd.DataFrame:
    return cases.sort_values(list(family.case_columns)).reset_index(drop=True)


def _has(drawn: Resampled, name: str) -> bool:
    return name in drawn.point and not np.isnan(drawn.point[name])


def _size(share: float, row: Sequence[Point]) -> Facts:
    known = [one.patients for one in row if one.patients is not None]
    return {
        "share": share,
        "patients": float(np.mean(known)) if len(known) == len(row) else None,
        "samples": float(np.mean([one.samples for one in row])),
    }


@dataclass(frozen=True, eq=False)
class _Curve:
    """One metric over the sizes; K sizes, R trainings of each, B draws."""

    metric: Metric
    name: str
    sizes: Floats64
    rows: Sequence[Sequence[Resampled]]
    counts: str

    def facts(self) -> Facts:
        values, draws = self._points(), self._draws()
        rise = _estimate(values[-1].mean() - values[0].mean(), draws[:, -1] - draws[:, 0])
        found: Facts = {
            "points": [
                {
                    **_estimate(row.mean(), draws[:, at]),
                    "size": float(self.sizes[at]),
                    "values": row.tolist(),
                    "spread": spread(row.tolist()),
                }
                for at, row in enumerate(values)
            ],
            "rise": rise,
            "fit": None,
            "curve": None,
            "doubled": None,
        }
        if len(np.unique(self.sizes)) >= FEWEST_SIZES:
            found |= self._fitted(values.mean(axis=1), draws)
        return {**found, "text": self._said(found)}

    def _points(self) -> Floats64:
        """The metric of every training on all cases, (K, R)."""
        return np.array([[float(one.point[self.name]) for one in row] for row in self.rows])

    def _draws(self) -> Floats64:
        """The mean over the trainings of each size on the same resamples of the patients, (B, K).

        Drawing a few trainings with replacement gives means that lie too close together; they are moved apart.
        """
        whole = np.array([[one.draws[self.name] for one in row] for row in self.rows])  # K, R, B
        sizes, repeats, count = whole.shape
        picks = np.random.default_rng(_SEED).integers(0, repeats, (sizes, repeats, count))
        centre, points = whole.mean(axis=1), self._points()
        off = np.repeat((points - points.mean(axis=1, keepdims=True))[:, :, None], count, axis=2)
        apart = np.take_along_axis(off, picks, axis=1).mean(axis=1)
        least, most = 0.0 if whole.min(initial=0.0) >= 0 else -np.inf, 1.0 if self.metric.unit == "share" else np.inf
        drawn: Floats64 = np.clip(centre + _widening(repeats) * apart, least, most).T
        kept: Floats64 = drawn[~np.isnan(drawn).any(axis=1)]
        return kept

    def _fitted(self, values: Floats64, draws: Floats64) -> Facts:
        ahead = _AHEAD * self.sizes[-1]
        places = np.append(np.geomspace(self.sizes[0], ahead, _PLACES)[:-1], [self.sizes[-1], ahead])
        bounds = (-np.inf, 1.0) if self.metric.better == "higher" else (0.0, np.inf)
        law = fit_power_law(self.sizes, values, bounds)
        whole = law.at(places)
        fitted = (
            fit_power_laws(self.sizes, draws[:_DRAWN], places, bounds) if len(draws) else np.empty((0, len(places)))
        )
        limits = np.array([percentile_interval(column) for column in fitted.T]) if len(fitted) else None
        order = np.argsort(places)
        return {
            "fit": {**law.plain(), "error": float(np.sqrt(np.mean((law.at(self.sizes) - values) ** 2)))},
            "curve": {
                "sizes": places[order].tolist(),
                "value": whole[order].tolist(),
                "low": None if limits is None else limits[order, 0].tolist(),
                "high": None if limits is None else limits[order, 1].tolist(),
            },
            "doubled": {
                "size": float(ahead),
                **_estimate(float(whole[-1]), fitted[:, -1]),
                "change": _estimate(float(whole[-1] - whole[-2]), fitted[:, -1] - fitted[:, -2]),
            },
        }

    def _said(self, found: Facts) -> str:
        """What more patients would bring, or why that cannot be said."""
        what, label = ("patients" if self.counts == "patients" else "images"), self.metric.label
        cannot = f"What more {what} would bring to {label} cannot be said:"
        if found["fit"] is None:
            few = counted(len(np.unique(self.sizes)), "size")
            return f"{cannot} a law of three parameters is not told from {few}; take {FEWEST_SIZES} shares or more."
        rise, doubled = found["rise"], found["doubled"]
        if rise["low"] is None or doubled["change"]["low"] is None:
            return f"{cannot} there are no intervals, for want of resamples or patients."
        sign = 1 if self.metric.better == "higher" else -1
        first, last = (f"{self.sizes[at]:,.0f}" for at in (0, -1))
        least = _LEAST * (1.0 if self.metric.unit == "share" else abs(found["points"][-1]["value"]))
        if not _is_clear(rise, sign, least):
            return (
                f"{cannot} from {first} to {last} {what} it did not get better by more than chance "
                f"({self._signed(rise)})."
            )
        change = self._signed(doubled["change"])
        twice = f"Twice as many {what} ({doubled['size']:,.0f})"
        if not _is_clear(doubled["change"], sign, least):
            return (
                f"{label} got better from {first} to {last} {what} ({self._signed(rise)}). {twice} would change it by "
                f"{change}: whether that helps cannot be told from these trainings."
            )
        return (
            f"{twice} would bring {label} to about {self._text(doubled)}, {change}, if the curve goes on as it began. "
            "Further than that it says nothing."
        )

    def _text(self, one: Facts) -> str:
        return metric_text(one, self.metric.unit)

    def _signed(self, one: Facts) -> str:
        return f"{one['value']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"


def _is_clear(one: Facts, sign: int, least: float) -> bool:
    """Whether a change is for the better by more than chance, and by more than shows in three digits."""
    return bool(one["low"] > least if sign > 0 else one["high"] < -least)


def _widening(repeats: int) -> float:
    """By how much a bootstrap of so few trainings is too narrow for the difference of two sizes.

    Its variance lacks the factor n / (n - 1), and the variance itself is known from few, as Student's t says.
    """
    if repeats == 1:
        return 1.0
    quantile = float(stats.t.ppf(0.975, 2 * (repeats - 1)) / stats.norm.ppf(0.975))
    return quantile * math.sqrt(repeats / (repeats - 1))


def _estimate(value: float, draws: Floats64) -> dict[str, Any]:
    low, high = percentile_interval(draws)
    known = not np.isnan(low)
    return {"value": float(value), "low": low if known else None, "high": high if known else None}
