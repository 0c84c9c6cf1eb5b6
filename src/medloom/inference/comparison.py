"""Several images together beside the fingerprint of the training images: whether they come from somewhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.inference.fingerprint import Fingerprint, Reference
from medloom.inference.measures import MEASURE_NAMES
from medloom.inference.novelty import Novelty
from medloom.metrics import (
    bin_shares,
    energy_distance,
    energy_test,
    exceedance_p,
    holm,
    homogeneity_p,
    population_stability_index,
    share_interval,
)

__all__ = ["FEWEST_TESTED", "LEVEL", "Comparison", "compare", "embedding_distance", "stability"]

LEVEL = 0.01
"""Chance of speaking of drift where there is none, over everything that is looked at together."""

FEWEST_TESTED = 20
"""Of fewer patients only how many images are set apart is tested: a distribution of so few says nothing."""

_RESAMPLES = 4999
_MOST_ROWS = 400
"""Embeddings that go into the permutation test, which takes the square of their number."""

_RANGE = (0.05, 0.5, 0.95)
_EMBEDDING, _FLAGGED = "what the network makes of the images", "images that are set apart"


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Args:
        images: How many there are.
        patients: How many they are of, as far as is known: where it is not, each image counts as one.
        flagged: How many are set apart, the ``share`` with its interval (``low``, ``high``), what was ``expected``.
        embedding: Energy ``distance`` of the embeddings and its ``p``; empty where nothing is known of them.
        measures: A row for each measure: ``name``, ``stability`` index and what is ``expected`` of it without drift,
            ``p``, ``here`` and ``training`` (5 %, 50 %, 95 %), ``shares`` here and there.
        findings: In which respects they differ, after correction for having looked at all; empty without drift.
        tested: Whether there were enough patients for more than the share that is set apart.
    """

    images: int
    patients: int
    flagged: dict[str, Any]
    embedding: dict[str, Any]
    measures: tuple[dict[str, Any], ...]
    findings: tuple[str, ...]
    tested: bool

    @property
    def drift(self) -> bool:
        """Whether they differ."""
        return bool(self.findings)

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "images": self.images,
            "patients": self.patients,
            "tested": self.tested,
            "drift": self.drift,
            "level": LEVEL,
            "findings": list(self.findings),
            "flagged": self.flagged,
            "embedding": self.embedding,
            "measures": list(self.measures),
        }


def compare(
    fingerprint: Fingerprint, novelties: Sequence[Novelty], patients: Sequence[str] | None = None, seed: int = 0
) -> Comparison:
    """Compare images with those of the training.

    Tests take one image of each patient, drawn with the seed, because images of one patient are not independent.

    Args:
        fingerprint: Of the training images.
        novelties: What was found of each image, at least one.
        patients: Whose each is; None where that is not known, and then p-values are too small if there are several of
            one patient.
        seed: Of the draw, and of the random divisions of the permutation test.

    Example:
        >>> compare(predictor.fingerprint, [one.novelty for one in predictions]).drift  # doctest: +SKIP
        False
    """
    names = np.array(patients if patients is not None else [str(at) for at in range(len(novelties))])
    order = np.random.default_rng(seed).permutation(len(names))
    _, first = np.unique(names[order], return_index=True)
    drawn = [novelties[at] for at in np.sort(order[first])]
    tested = len(drawn) >= FEWEST_TESTED
    flagged = _flagged(fingerprint, novelties, drawn)
    embedding = _embedding(fingerprint, drawn, seed) if tested else {}
    measured = np.stack([one.measured for one in drawn])
    measures = _measures(fingerprint, measured, tested=tested)
    findings = _findings(flagged, embedding, measures if tested else ())
    return Comparison(len(novelties), len(drawn), flagged, embedding, measures, findings, tested)


def stability(fingerprint: Fingerprint, measured: NDArray[np.float64]) -> dict[str, float]:
    """Return the population stability index of each measure, by its name.

    Args:
        fingerprint: Of the training images.
        measured: ``(M, F)`` of new ones.
    """
    columns = zip(fingerprint.references, MEASURE_NAMES, strict=False)  # later measures are not in older fingerprints
    return {one.name: _index(one, bin_shares(measured[:, at], one.edges), len(measured)) for one, at in columns}


def _index(one: Reference, shares: NDArray[np.float64], count: int) -> float:
    """The stability index, with half an image in each empty bin."""
    return population_stability_index(one.shares, shares, least=0.5 / count)


def _flagged(fingerprint: Fingerprint, all_of_them: Sequence[Novelty], drawn: Sequence[Novelty]) -> dict[str, Any]:
    count, total = sum(one.flagged for one in all_of_them), len(all_of_them)
    low, high = share_interval(count, total)
    p = exceedance_p(sum(one.flagged for one in drawn), len(drawn), fingerprint.false_alarms)
    return {
        "images": count,
        "share": count / total,
        "low": low,
        "high": high,
        "expected": fingerprint.false_alarms,
        "p": p,
    }


def _embedding(fingerprint: Fingerprint, drawn: Sequence[Novelty], seed: int) -> dict[str, Any]:
    rows = np.stack([one.embedded for one in drawn])
    if fingerprint.embedding is None or not rows.shape[1]:
        return {}
    sample = fingerprint.embedding.sample
    some = rows if len(rows) <= _MOST_ROWS else rows[np.random.default_rng(seed).permutation(len(rows))[:_MOST_ROWS]]
    found = energy_test(sample, some, resamples=_RESAMPLES, seed=seed)
    return {"distance": found.value, "p": found.p, "training": len(sample), "here": len(some)}


def embedding_distance(fingerprint: Fingerprint, embedded: NDArray[np.float64]) -> float | None:
    """Return the energy distance of embeddings ``(M, D)`` from those of validation images; None without any."""
    if fingerprint.embedding is None or not embedded.size:
        return None
    return energy_distance(fingerprint.embedding.sample, embedded[-_MOST_ROWS:])


def _measures(fingerprint: Fingerprint, measured: NDArray[np.float64], *, tested: bool) -> tuple[dict[str, Any], ...]:
    known, new = fingerprint.patients, len(measured)
    rows = []
    for one, at in zip(fingerprint.references, MEASURE_NAMES, strict=False):
        shares = bin_shares(measured[:, at], one.edges)
        rows.append(
            {
                "name": one.name,
                "stability": _index(one, shares, new),
                "expected": (len(shares) - 1) * (1 / known + 1 / new),
                "p": homogeneity_p(one.shares, shares, known, new) if tested else None,
                "here": np.quantile(measured[:, at], _RANGE).tolist(),
                "training": list(one.range),
                "shares": {"here": shares.tolist(), "training": list(one.shares)},
            }
        )
    return tuple(rows)


def _findings(
    flagged: dict[str, Any], embedding: dict[str, Any], measures: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    """What differs by more than chance, the surest first; p-values are corrected for having looked at all."""
    found = [(_FLAGGED, flagged["p"]), *((one["name"], one["p"]) for one in measures)]
    found += [(_EMBEDDING, embedding["p"])] if embedding else []
    corrected = holm([p for _, p in found])
    sure = sorted((p, name) for p, (name, _) in zip(corrected.tolist(), found, strict=True) if p < LEVEL)
    return tuple(name for _, name in sure)
