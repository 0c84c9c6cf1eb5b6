"""Fitting what turns a network's probabilities into ones that are kept: temperatures, shifts and monotone maps.

All are fitted by maximum likelihood on cases that the network did not learn from. Truths are smoothed as Platt does it:
of N cases of a class the target is ``(N + 1) / (N + K)`` for it and ``1 / (N + K)`` for each other one, so that classes
that happen to be told apart without a mistake do not make every probability 0 or 1.

Source: Platt, Probabilistic outputs for support vector machines (1999); Guo et al., On calibration of modern neural
networks, ICML 2017, arXiv:1706.04599; Alexandari et al., Maximum likelihood with bias-corrected calibration is
hard-to-beat at label shift adaptation, ICML 2020, arXiv:1901.06852
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["SCALES", "fit_isotonic", "fit_sigmoid", "fit_softmax", "smoothed"]

Floats64 = NDArray[np.float64]

SCALES = (0.05, 20.0)
"""Between what a scale, one over the temperature, is looked for; above 0, so the order of cases stays as it is."""

_FARTHEST = 100.0
_TOLERANCE: Any = {"maxiter": 2000, "maxfun": 20_000, "ftol": 1e-13, "gtol": 1e-9}


def smoothed(truth: NDArray[np.int64], classes: int) -> Floats64:
    """Return the target of each case and class, (N, K), whose rows add up to 1; see this module.

    Example:
        >>> smoothed(np.array([1, 1, 0]), 2).round(3).tolist()
        [[0.25, 0.75], [0.25, 0.75], [0.667, 0.333]]
    """
    count = np.bincount(truth, minlength=classes)[truth]
    targets = np.repeat(1.0 / (count + classes)[:, None], classes, axis=1)
    targets[np.arange(len(truth)), truth] *= count + 1
    return targets


def fit_sigmoid(
    logit: ArrayLike, target: ArrayLike, *, shift: bool, scales: tuple[float, float] = SCALES
) -> tuple[float, float]:
    """Fit ``sigmoid(scale * logit + shift)`` to a yes-or-no question.

    Args:
        logit: Of each case, shape (N,), finite.
        target: What each is to be, shape (N,), 0 to 1; see ``smoothed``.
        shift: Whether a shift is fitted as well (Platt); else it is 0 and the scale is one over the temperature.
        scales: Between what the scale is looked for.

    Returns:
        The scale and the shift.

    Example:
        >>> scale, moved = fit_sigmoid([-2.0, -1.0, 1.0, 2.0], [0.0, 1.0, 0.0, 1.0], shift=False)
        >>> round(scale, 3), moved
        (0.42, 0.0)
    """
    z, t = np.asarray(logit, float), np.asarray(target, float)

    def loss(x: Floats64) -> tuple[float, Floats64]:
        made = x[0] * z + x[1]
        wrong = special.expit(made) - t
        return float(np.mean(np.logaddexp(0.0, made) - t * made)), np.array([np.mean(wrong * z), np.mean(wrong)])

    scale, moved = _least(loss, np.array([1.0, 0.0]), [scales, _shifts(shift)])
    return float(scale), float(moved)


def fit_softmax(
    logit: ArrayLike,
    target: ArrayLike,
    *,
    shift: bool = False,
    each: bool = False,
    scales: tuple[float, float] = SCALES,
) -> tuple[Floats64, Floats64]:
    """Fit ``softmax(scale * logit + shift)`` to one of several classes.

    Args:
        logit: Of each case and class, shape (N, K), up to one number a case; logarithms of probabilities will do.
        target: What each is to be, shape (N, K), rows that add up to 1; see ``smoothed``.
        shift: Whether each class but the first has a shift (bias-corrected temperature scaling).
        each: Whether each class has a scale of its own (vector scaling); else all share one.
        scales: Between what scales are looked for.

    Returns:
        The scales and the shifts, each of shape (K,).
    """
    z, t = np.asarray(logit, float), np.asarray(target, float)
    classes = z.shape[1]
    count = classes if each else 1

    def loss(x: Floats64) -> tuple[float, Floats64]:
        made = x[:count] * z + np.concatenate([[0.0], x[count:]])
        log = made - special.logsumexp(made, axis=1, keepdims=True)
        wrong = (np.exp(log) - t) / len(z)
        of_scales = (wrong * z).sum(axis=0)
        return float(-(t * log).sum() / len(z)), np.concatenate(
            [of_scales if each else [of_scales.sum()], wrong.sum(axis=0)[1:]]
        )

    begin = np.concatenate([np.ones(count), np.zeros(classes - 1)])
    found = _least(loss, begin, [scales] * count + [_shifts(shift)] * (classes - 1))
    return np.broadcast_to(found[:count], (classes,)).copy(), np.concatenate([[0.0], found[count:]])


def fit_isotonic(score: ArrayLike, truth: ArrayLike) -> tuple[Floats64, Floats64]:
    """Fit the never falling map from scores to the share of positive cases.

    Shares are cut to ``1 / (N + 2)`` and one minus that: N cases do not show that something never happens.

    Args:
        score: Of each case, shape (N,).
        truth: Whether each is positive, shape (N,), 0 or 1.

    Returns:
        Scores and shares at the corners of the map, straight between and level beyond them.

    Source:
        Zadrozny and Elkan, Transforming classifier scores into accurate multiclass probability estimates, KDD 2002
    """
    values, index = np.unique(np.asarray(score, float), return_inverse=True)
    count = np.bincount(index).astype(float)
    share = np.bincount(index, np.asarray(truth, float)) / count
    from scipy import optimize  # a quarter of a second that a server, which fits nothing, need not wait for

    fitted = np.asarray(optimize.isotonic_regression(share, weights=count).x, float)
    least = 1.0 / (len(index) + 2)
    fitted = np.clip(fitted, least, 1.0 - least)
    level = np.zeros(len(fitted), bool)  # in the middle of a step, so that no corner is needed
    level[1:-1] = (fitted[1:-1] == fitted[:-2]) & (fitted[1:-1] == fitted[2:])
    return values[~level], fitted[~level]


def _shifts(wanted: bool) -> tuple[float, float]:
    return (-_FARTHEST, _FARTHEST) if wanted else (0.0, 0.0)


def _least(
    loss: Callable[[Floats64], tuple[float, Floats64]], begin: Floats64, bounds: list[tuple[float, float]]
) -> Floats64:
    """The least of a convex function with its gradient."""
    from scipy import optimize  # a quarter of a second that a server, which fits nothing, need not wait for

    found: Any = optimize.minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options=_TOLERANCE)
    return np.asarray(found.x, float)
