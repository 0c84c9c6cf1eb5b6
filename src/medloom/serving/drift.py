"""Whether the images that a server is asked about are still like those that its models learned from.

Of each image only what was measured of it is kept, and what the network made of it, for as long as it is among the last
ones; no image is, and nothing that says whose it was.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.inference.comparison import embedding_distance, stability
from medloom.inference.fingerprint import Fingerprint
from medloom.inference.novelty import Novelty
from medloom.serving.service import Seen, Service

__all__ = ["HEADER", "DriftWatch", "GaugeMaker", "Window", "drift_of", "header_of"]

HEADER = "X-Medloom-Out-Of-Distribution"

_WINDOW = 200
_FEWEST = 20


GaugeMaker = Callable[..., Any]
"""Makes a gauge from its name, its text, the names of its labels and its ``mode``, as ``Metrics.gauge``."""


class Window:
    """The last images that a model was asked about.

    Args:
        fingerprint: Of its training images.
        size: How many are kept.
    """

    def __init__(self, fingerprint: Fingerprint, size: int = _WINDOW) -> None:
        self.fingerprint = fingerprint
        self._kept: deque[tuple[float, NDArray[np.float32], NDArray[np.float32]]] = deque(maxlen=size)
        self._lock = threading.Lock()
        self._seen = 0

    def add(self, novelty: Novelty) -> None:
        """Take an image."""
        row = novelty.score, novelty.measured.astype(np.float32), novelty.embedded.astype(np.float32)
        with self._lock:
            self._kept.append(row)
            self._seen += 1

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types: how many images there are, how many are set apart, and how far they all are.

        ``stability`` and ``embedding_distance`` are there from 20 images on.
        """
        with self._lock:
            kept, seen = list(self._kept), self._seen
        plain: dict[str, Any] = {"images": len(kept), "seen": seen, "expected": self.fingerprint.false_alarms}
        if kept:
            plain["out_of_distribution"] = float(np.mean([score > 1.0 for score, _, _ in kept]))
        if len(kept) >= _FEWEST:
            measured, embedded = (np.stack([row[at] for row in kept]).astype(np.float64) for at in (1, 2))
            plain["stability"] = stability(self.fingerprint, measured)
            distance = embedding_distance(self.fingerprint, embedded)
            plain |= {} if distance is None else {"embedding_distance": distance}
        return plain


class DriftWatch:
    """Watches the images of several models; an `Observer`.

    Args:
        find: Returns the fingerprint of a model by its name; None of one that has none, or is not served any more. A
            model that was exchanged has another one, and its window begins anew.
        size: How many of the last images of each are compared.

    Example:
        >>> watch = DriftWatch({"brain": predictor.fingerprint}.get)  # doctest: +SKIP
        >>> Service(models, observers=(watch,))  # doctest: +SKIP
    """

    def __init__(self, find: Callable[[str], Fingerprint | None], size: int = _WINDOW) -> None:
        self._find, self._size = find, size
        self._windows: dict[str, Window] = {}
        self._lock = threading.Lock()

    def window(self, model: str) -> Window | None:
        """Return the last images of a model; None where it has no fingerprint."""
        fingerprint = self._find(model)
        with self._lock:
            found = self._windows.get(model)
            if fingerprint is None:
                self._windows.pop(model, None)
                return None
            if found is None or found.fingerprint is not fingerprint:
                found = self._windows[model] = Window(fingerprint, self._size)
            return found

    def seen(self, seen: Seen) -> None:
        """Take what was found of an image, and say it in the headers of its answer."""
        novelties = [] if seen.prediction is None else list(_novelties(seen.prediction))
        if not novelties:
            return
        strangest = max(novelties, key=lambda one: one.score)
        seen.headers[HEADER] = header_of(strangest)
        if (window := self.window(seen.model)) is not None:
            window.add(novelties[len(novelties) // 2])  # one slice stands for a volume, which is of one patient

    def plain(self, model: str) -> dict[str, Any] | None:
        """Return what is known of the last images of a model; None where it has no fingerprint."""
        window = self.window(model)
        return None if window is None else window.plain()

    def show(self, gauge: GaugeMaker) -> Callable[[], None]:
        """Make the gauges of ``GET /metrics``.

        Args:
            gauge: ``Metrics.gauge``.

        Returns:
            What brings them up to date; to be called before they are read.
        """
        images = gauge("drift_window_images", "Last images that are compared with the training.", "model")
        apart = gauge("drift_out_of_distribution_ratio", "Share of them that is set apart.", "model", mode="livemax")
        moved = gauge(
            "drift_stability_index", "Population stability index of a measure.", "model", "measure", mode="livemax"
        )
        distance = gauge(
            "drift_embedding_distance", "Energy distance of what the network makes of them.", "model", mode="livemax"
        )

        def update() -> None:
            with self._lock:
                windows = dict(self._windows)
            for model, window in windows.items():
                plain = window.plain()
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
