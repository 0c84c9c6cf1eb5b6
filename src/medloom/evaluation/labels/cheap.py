"""Cheap models beside the network: what thumbnails, or the table alone, are enough for.

Both are perceptrons with one hidden layer, fitted in seconds on the training samples of the run. The weights of the
epoch with the lowest validation loss are kept, as of the network. A network that is not better than they are has
learnt little that needs a network.

Source: Pedregosa et al., Scikit-learn: machine learning in Python, JMLR 12 (2011), ``sklearn.neural_network``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom import metrics
from medloom.data.stored import evenly

if TYPE_CHECKING:
    from medloom.data import PixelStore, TableEncoding

__all__ = ["TITLES", "Features", "class_scores", "number_scores", "table_features", "thumbnail_features"]

Floats64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.intp]
Loss = Callable[[Floats64], float]

TITLES = {"perceptron": "Perceptron on 16×16 pixels", "table": "Perceptron on the table alone"}
"""What the cheap models are called in reports, by name."""

_SIDE = 16
_HIDDEN = 32
_EPOCHS = 60
_BATCH = 32
_MOST_TRAINED = 5000
_SEED = 0


@dataclass(frozen=True, eq=False)
class Features:
    """What a cheap model sees.

    Args:
        values: (N, F), a row for each sample.
        train: Which it learns from, (N,).
        validation: Which decide about its best epoch, (N,).
    """

    values: Floats64
    train: Bools
    validation: Bools

    def known(self, truth: Floats64) -> Features:
        """Return the same without what has no truth."""
        there = ~np.isnan(truth)
        return Features(self.values, self.train & there, self.validation & there)


def thumbnail_features(catalogue: pd.DataFrame, store: PixelStore) -> Features:
    """Return every sample's normalised pixels, averaged over 16 by 16 fields.

    Args:
        catalogue: With ``sample_id`` and ``split``.
        store: Holds the samples.
    """
    rows = store.rows(catalogue["sample_id"].tolist())
    down, across = (_fields(length) for length in store.images.shape[2:])
    small = np.stack([down @ np.asarray(store.images[row], float) @ across.T for row in rows])
    offset, scale = (values[rows][..., np.newaxis, np.newaxis] for values in (store.offset, store.scale))
    normalised: Floats64 = ((small - offset) * scale).astype(np.float64)
    return _features(normalised.reshape(len(rows), -1), catalogue)


def table_features(catalogue: pd.DataFrame, encoding: TableEncoding, rows: list[dict[str, str]]) -> Features:
    """Return every sample's encoded metadata.

    Args:
        catalogue: With ``split``.
        encoding: Fitted on the training samples.
        rows: The metadata of each sample.
    """
    return _features(np.asarray(encoding.encode(rows), np.float64), catalogue)


def class_scores(features: Features, truth: Floats64, classes: int) -> Floats64 | None:
    """Fit a perceptron and return the probability of each class for every sample.

    Args:
        features: What it sees.
        truth: Class index of each sample, (N,); NaN where it is not known.
        classes: Number of classes K.

    Returns:
        (N, K), rows that add up to 1; None where fewer than two classes are there to learn from.
    """
    from sklearn.neural_network import MLPClassifier

    seen = features.known(truth)
    found = np.unique(truth[seen.train]).astype(int)
    if len(found) < 2:
        return None
    train = _learned_from(seen)
    model = MLPClassifier(**_settings(train))
    scores = _best(
        partial(model.partial_fit, seen.values[train], truth[train], classes=found),
        partial(model.predict_proba, seen.values),
        seen,
        partial(_log_loss, truth=truth, at=seen.validation, classes=found),
    )
    whole = np.zeros((len(truth), classes))
    whole[:, found] = scores
    return whole


def number_scores(features: Features, truth: Floats64) -> Floats64 | None:
    """Fit a perceptron and return the number predicted for every sample.

    Args:
        features: What it sees.
        truth: Number of each sample, (N,); NaN where it is not known.

    Returns:
        (N,); None without a sample to learn from.
    """
    from sklearn.neural_network import MLPRegressor

    seen = features.known(truth)
    if not seen.train.any():
        return None
    centre, spread = truth[seen.train].mean(), truth[seen.train].std() or 1.0
    scaled = (truth - centre) / spread
    train, at = _learned_from(seen), seen.validation
    model = MLPRegressor(**_settings(train))
    predicted = _best(
        partial(model.partial_fit, seen.values[train], scaled[train]),
        partial(model.predict, seen.values),
        seen,
        lambda found: float(np.mean((found[at] - scaled[at]) ** 2)),
    )
    return np.asarray(predicted * spread + centre, np.float64)


def _features(values: Floats64, catalogue: pd.DataFrame) -> Features:
    """Standardised by the training samples."""
    split = catalogue["split"].to_numpy()
    train, validation = split == "train", split == "validation"
    if train.any():
        spread = values[train].std(axis=0)
        values = (values - values[train].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return Features(values, train, validation)


def _fields(length: int) -> Floats64:
    """Matrix (16, length) that averages pixels over 16 fields, which overlap where there are fewer pixels."""
    weights = np.zeros((_SIDE, length))
    for field in range(_SIDE):
        first, last = field * length // _SIDE, -(-(field + 1) * length // _SIDE)
        weights[field, first:last] = 1.0 / (last - first)
    return weights


def _settings(train: Rows) -> dict[str, Any]:
    return {"hidden_layer_sizes": (_HIDDEN,), "batch_size": min(_BATCH, len(train)), "random_state": _SEED}


def _learned_from(seen: Features) -> Rows:
    """Rows of the training samples, at most so many, evenly spread."""
    train = np.flatnonzero(seen.train)
    return train[evenly(len(train), _MOST_TRAINED)]


def _best(epoch: Callable[[], object], scores: Callable[[], Floats64], seen: Features, loss: Loss) -> Floats64:
    """The scores of the epoch with the lowest loss on validation; of the last where there is no validation.

    Args:
        epoch: Trains for one epoch more.
        scores: Gives the scores of all samples as the model is now.
        seen: What the model sees.
        loss: Of scores on validation.
    """
    validated = bool(seen.validation.any())
    best, lowest = np.empty(0), np.inf
    for _ in range(_EPOCHS):
        epoch()
        found = scores()
        now = loss(found) if validated else lowest
        if now < lowest or not validated or not len(best):
            best, lowest = found, now
    return best


def _log_loss(scores: Floats64, *, truth: Floats64, at: Bools, classes: NDArray[np.int64]) -> float:
    """Of the cases of a class that it knows."""
    there = at & np.isin(truth, classes)
    if not there.any():
        return 0.0
    return float(metrics.log_loss(np.searchsorted(classes, truth[there]), scores[there])[0])
