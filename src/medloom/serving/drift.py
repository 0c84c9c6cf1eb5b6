"""Whether the images that a server is asked about are still like those that its models learned from.

Of each image only what was measured of it is kept, and what the network made of it, for as long as it is among the last
ones; no image is, and nothing that says whose it was. Several processes of one server keep the last images together, so
whichever is asked says the same.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from medloom.inference.comparison import embedding_distance, stability
from medloom.inference.fingerprint import Fingerprint
from medloom.inference.measures import MEASURES
from medloom.inference.novelty import Novelty
from medloom.serving.recent import Recent
from medloom.serving.service import Seen, Service

__all__ = ["HEADER", "DriftWatch", "GaugeMaker", "Window", "drift_of", "header_of"]

HEADER = "X-Medloom-Out-Of-Distribution"

_WINDOW = 200
_SLICES = 8
"""Slices of a volume that are kept at most, so that a few long volumes do not fill the window."""

_FEWEST = 20


GaugeMaker = Callable[..., Any]
"""Makes a gauge from its name, its text, the names of its labels and its ``mode``, as ``Metrics.gauge``."""


class Window:
    """The last images that a model was asked about.

    Args:
        fingerprint: Of its training images.
        size: How many are kept.
        path: A file in which several processes keep them together; None for those of this process.
    """

    def __init__(self, fingerprint: Fingerprint, size: int = _WINDOW, path: Path | None = None) -> None:
        self.fingerprint = fingerprint
        self._directions = 0 if fingerprint.embedding is None else len(fingerprint.embedding.spread)
        self._recent = Recent(size, 1 + MEASURES + self._directions, path)

    def add(self, novelty: Novelty) -> None:
        """Take an image."""
        embedded = novelty.embedded if len(novelty.embedded) else np.full(self._directions, np.nan)
        self._recent.add(np.concatenate([[novelty.score], novelty.measured, embedded]).astype(np.float32))

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types: how many images there are, how many are set apart, and how far they all are.

        ``stability`` and ``embedding_distance`` are there from 20 images on.
        """
        rows, seen = self._recent.read()
        scores, measured, embedded = np.split(rows.astype(np.float64), [1, 1 + MEASURES], axis=1)
        plain: dict[str, Any] = {"images": len(rows), "seen": seen, "expected": self.fingerprint.false_alarms}
        if len(rows):
            plain["out_of_distribution"] = float(np.mean(scores > 1.0))
        if len(rows) >= _FEWEST:
            plain["stability"] = stability(self.fingerprint, measured)
        known = embedded[~np.isnan(embedded).any(axis=1)]
        if self._directions and len(known) >= _FEWEST:
            plain["embedding_distance"] = embedding_distance(self.fingerprint, known)
        return plain

    def rows(self) -> NDArray[np.float32]:
        """Return what is kept, a row of numbers for each image."""
        return self._recent.read()[0]

    def close(self) -> None:
        """Take no more images."""
        self._recent.close()


class DriftWatch:
    """Watches the images of several models; an `Observer`.

    Args:
        find: Returns the fingerprint of a model by its name; None of one that has none, or is not served any more. A
            model that was exchanged has another one, and its window begins anew.
        names: Returns the names of all models; those that were asked anything by default.
        size: How many of the last images of each are compared.
        folder: Where several processes keep them together; None for those of this process.

    Example:
        >>> watch = DriftWatch({"brain": predictor.fingerprint}.get)  # doctest: +SKIP
        >>> Service(models, observers=(watch,))  # doctest: +SKIP
    """

    def __init__(
        self,
        find: Callable[[str], Fingerprint | None],
        names: Callable[[], Iterable[str]] | None = None,
        *,
        size: int = _WINDOW,
        folder: Path | None = None,
    ) -> None:
        self._find, self._names, self._size, self._folder = find, names, size, folder
        self._windows: dict[str, Window] = {}
        self._lock = threading.Lock()

    def window(self, model: str) -> Window | None:
        """Return the last images of a model; None where it has no fingerprint."""
        fingerprint = self._find(model)
        with self._lock:
            found = self._windows.get(model)
            if found is not None and found.fingerprint is not fingerprint:
                self._windows.pop(model).close()
                found = None
            if found is None and fingerprint is not None:
                found = self._windows[model] = Window(fingerprint, self._size, self._path(model, fingerprint))
            return found

    def seen(self, seen: Seen) -> None:
        """Take what was found of an image, and say it in the headers of its answer."""
        novelties = [] if seen.prediction is None else list(_novelties(seen.prediction))
        if not novelties:
            return
        strangest = max(novelties, key=lambda one: one.score)
        seen.headers[HEADER] = header_of(strangest)
        if (window := self.window(seen.model)) is not None:
            for one in _spread(novelties):
                window.add(one)

    def plain(self, model: str) -> dict[str, Any] | None:
        """Return what is known of the last images of a model; None where it has no fingerprint."""
        window = self.window(model)
        return None if window is None else window.plain()

    def _path(self, model: str, fingerprint: Fingerprint) -> Path | None:
        """The file of a model and of the images that it learned from: the same in every process that serves it."""
        if self._folder is None:
            return None
        told = hashlib.sha256(msgspec.json.encode([model, self._size, fingerprint.plain()])).hexdigest()
        return self._folder / f"{told[:32]}.window"

    def show(self, gauge: GaugeMaker) -> Callable[[], None]:
        """Make the gauges of ``GET /metrics``.

        Args:
            gauge: ``Metrics.gauge``.

        Returns:
            What brings them up to date; to be called before they are read.
        """
        images = gauge(
            "drift_window_images", "Last images that are compared with the training.", "model", mode="livemostrecent"
        )
        apart = gauge(
            "drift_out_of_distribution_ratio", "Share of them that is set apart.", "model", mode="livemostrecent"
        )
        moved = gauge(
            "drift_stability_index",
            "Population stability index of a measure.",
            "model",
            "measure",
            mode="livemostrecent",
        )
        distance = gauge(
            "drift_embedding_distance",
            "Energy distance of what the network makes of them.",
            "model",
            mode="livemostrecent",
        )

        def update() -> None:
            for model in list(self._windows if self._names is None else self._names()):
                plain = self.plain(model)
                if plain is None:
                    continue
                images.labels(model).set(plain["images"])
                if "out_of_distribution" in plain:
                    apart.labels(model).set(plain["out_of_distribution"])
                for name, value in plain.get("stability", {}).items():
                    moved.labels(model, name).set(value)
                if "embedding_distance" in plain:
                    distance.labels(model).set(plain["embedding_distance"])

        return update


def drift_of(service: Service, model: str) -> dict[str, Any] | None:
    """Return what is known of the last images of a model; None where nobody watches, or it has no fingerprint.

    Args:
        service: The service, perhaps with a ``DriftWatch`` among its observers.
        model: Name of the model.
    """
    watches = (one for one in service.observers if isinstance(one, DriftWatch))
    return next((one.plain(model) for one in watches), None)


def header_of(novelty: Novelty) -> str:
    """Return the value of ``X-Medloom-Out-Of-Distribution``.

    Example:
        >>> header_of(Novelty(0.51234))
        'false; score=0.512'
    """
    return f"{str(novelty.flagged).lower()}; score={novelty.score:.3f}"


def _novelties(prediction: object) -> Iterable[Novelty]:
    """Of an image its own, of a volume those of its slices."""
    one = getattr(prediction, "novelty", None)
    return [one] if isinstance(one, Novelty) else getattr(prediction, "novelties", ())


def _spread(novelties: Sequence[Novelty]) -> list[Novelty]:
    """Some slices evenly from the first to the last: training images are of all heights, those in the middle differ."""
    count = min(len(novelties), _SLICES)
    return [novelties[(2 * number + 1) * len(novelties) // (2 * count)] for number in range(count)]
