"""A logistic regression whose truths may be shares: what a Dice coefficient or a right answer is to be expected."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["fit_logistic"]

Floats64 = NDArray[np.float64]

_FLAT = 1e-9
_TOLERANCE: Any = {"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-9}


def fit_logistic(features: ArrayLike, target: ArrayLike, *, ridge: float = 1.0) -> tuple[Floats64, float]:
    """Fit ``sigmoid(features @ weights + shift)`` to targets from 0 to 1 by maximum (quasi-)likelihood.

    Weights of features in units of their standard deviation are held back by half the sum of their squares times
    ``ridge``, so that a few cases do not make any of them large; the shift is free.

    Args:
        features: Of each case, shape (N, F), finite. One that is the same everywhere gets the weight 0.
        target: What is to be expected of each case, shape (N,), 0 to 1.
        ridge: How much large weights cost.

    Returns:
        The weights (F,) and the shift, for features as they are given.

    Example:
        >>> weights, shift = fit_logistic([[0.0], [1.0], [2.0], [3.0]], [0.1, 0.3, 0.7, 0.9])
        >>> weights.round(2).tolist(), round(shift, 2)
        ([0.58], -0.86)

    Source:
        Papke and Wooldridge, Econometric methods for fractional response variables, J. Appl. Econometrics 11 (1996)
    """
    x, t = np.asarray(features, float), np.asarray(target, float)
    mean, spread = x.mean(axis=0), x.std(axis=0)
    varies = spread > _FLAT
    z = (x[:, varies] - mean[varies]) / spread[varies]

    def loss(w: Floats64) -> tuple[float, Floats64]:
        made = z @ w[1:] + w[0]
        wrong = special.expit(made) - t
        value = float(np.sum(np.logaddexp(0.0, made) - t * made)) + ridge / 2 * float(w[1:] @ w[1:])
        return value, np.concatenate([[wrong.sum()], z.T @ wrong + ridge * w[1:]])

    from scipy import optimize  # a quarter of a second that a server, which fits nothing, need not wait for

    found = optimize.minimize(loss, np.zeros(z.shape[1] + 1), jac=True, method="L-BFGS-B", options=_TOLERANCE).x
    weights = np.zeros(x.shape[1])
    weights[varies] = found[1:] / spread[varies]
    return weights, float(found[0] - weights @ mean)
