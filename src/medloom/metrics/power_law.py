"""How a metric goes on as the number of training patients grows: a power law with a limit, and how sure it is.

``value(n) = limit + amount * n ** -rate``. For a given rate that is a straight line in ``n ** -rate``, so only the rate
has to be searched.

Source: Hestness et al., Deep learning scaling is predictable, empirically (2017), arXiv:1712.00409; Figueroa et al.,
Predicting sample size required for classification performance, BMC Medical Informatics and Decision Making 12 (2012)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FEWEST_SIZES", "PowerLaw", "fit_power_law", "fit_power_laws"]

Floats64 = NDArray[np.float64]

FEWEST_SIZES = 4
"""A law of three parameters goes through three points whatever they are."""

_RATES = np.geomspace(0.05, 3.0, 80)
"""Rates that are tried: slower is not told from a logarithm, faster not from a step."""


@dataclass(frozen=True)
class PowerLaw:
    """A fitted law.

    Args:
        limit: What the metric comes near to with ever more patients.
        amount: How far it is from that at one patient.
        rate: How fast that shrinks.
    """

    limit: float
    amount: float
    rate: float

    def at(self, sizes: ArrayLike) -> Floats64:
        """Return the metric at sizes ``(N,)``, each above 0."""
        found: Floats64 = self.limit + self.amount * np.asarray(sizes, float) ** -self.rate
        return found

    def plain(self) -> dict[str, float]:
        """Return plain JSON types."""
        return {"limit": self.limit, "amount": self.amount, "rate": self.rate}


def fit_power_law(sizes: ArrayLike, values: ArrayLike, bounds: tuple[float, float] = (-np.inf, np.inf)) -> PowerLaw:
    """Fit the law to one value at each size, by least squares.

    Args:
        sizes: Different sizes above 0, (K,), at least ``FEWEST_SIZES``.
        values: The metric at each, (K,).
        bounds: Between which the limit lies, such as 0 and 1.

    Raises:
        ValueError: If there are fewer sizes.

    Example:
        >>> law = fit_power_law([10, 20, 40, 80], [0.9 - 0.8 * n**-0.5 for n in (10, 20, 40, 80)])
        >>> round(law.limit, 3), round(law.amount, 3), round(law.rate, 3)
        (0.9, -0.8, 0.5)
    """
    n, found = _checked(sizes), np.asarray(values, float)[None]
    place = int(_losses(n, found, bounds)[:, 0].argmin())
    low, high = (np.log(_RATES[min(max(at, 0), len(_RATES) - 1)]) for at in (place - 1, place + 1))

    def loss(log_rate: float) -> float:
        return float(_lines(n, found, float(np.exp(log_rate)), bounds)[2][0])

    from scipy import optimize  # a quarter of a second that a server, which fits nothing, need not wait for

    rate = float(
        np.exp(optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-9}).x)
    )
    limit, amount, _ = _lines(n, found, rate, bounds)
    return PowerLaw(float(limit[0]), float(amount[0]), rate)


def fit_power_laws(
    sizes: ArrayLike, values: Floats64, at: ArrayLike, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Floats64:
    """Fit the law to many draws of the values, and return what each of them says at other sizes.

    Args:
        sizes: Different sizes above 0, (K,).
        values: The metric at each in every draw, (B, K).
        at: Sizes that are asked for, (N,).
        bounds: Between which the limit lies.

    Returns:
        ``(B, N)``.
    """
    n = _checked(sizes)
    places = _losses(n, values, bounds).argmin(axis=0)
    found = np.empty((len(values), len(np.asarray(at))))
    for place in np.unique(places):
        of_it = places == place
        limit, amount, _ = _lines(n, values[of_it], float(_RATES[place]), bounds)
        found[of_it] = limit[:, None] + amount[:, None] * np.asarray(at, float) ** -_RATES[place]
    return found


def _checked(sizes: ArrayLike) -> Floats64:
    found = np.asarray(sizes, float)
    if len(np.unique(found)) < FEWEST_SIZES:
        raise ValueError(f"expected at least {FEWEST_SIZES} different sizes; got {len(np.unique(found))}")
    return found


def _losses(n: Floats64, values: Floats64, bounds: tuple[float, float]) -> Floats64:
    """The squared error (R, B) of each draw with each rate."""
    return np.stack([_lines(n, values, float(rate), bounds)[2] for rate in _RATES])


def _lines(
    n: Floats64, values: Floats64, rate: float, bounds: tuple[float, float]
) -> tuple[Floats64, Floats64, Floats64]:
    """Limit, amount and squared error (B,) of the best line in ``n ** -rate`` through each draw (B, K)."""
    x = n**-rate
    x = x / x.max()  # else the slope of fast rates is a number of no size that a float can hold
    away = x - x.mean()
    slope = values @ away / (away @ away)
    limit = np.clip(values.mean(axis=1) - slope * x.mean(), *bounds)
    slope = (values - limit[:, None]) @ x / (x @ x)
    errors = ((values - limit[:, None] - slope[:, None] * x) ** 2).sum(axis=1)
    return limit, slope / float((n**-rate).max()), errors
