"""From an image, with or without metadata, to labels of the whole image.

Validation, the test report, the command line and the server all call this object, so the figures that are
reported are the figures that are served.

Shapes: N images, C channels, h and w of the network's image, K outputs, F columns of encoded metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.layouts.labels import clean
from medloom.data.metadata import is_blank
from medloom.errors import InputError
from medloom.inference.base import Input, PredictorBase, Prepared, finite
from medloom.models.registry import LabelKind

if TYPE_CHECKING:
    from medloom.data.metadata import TableEncoding

__all__ = ["LabelPrediction", "LabelPredictor", "MetadataGaps"]

Floats = NDArray[np.float32]
Metadata = Mapping[str, Any]

_STEP = 0.1
"""How far a further view is moved, as a share of half the side."""


@dataclass(frozen=True)
class MetadataGaps:
    """Metadata columns that told the model nothing about an image.

    Args:
        missing: Columns that were left out or blank.
        unknown: Columns with a category that no member of the model saw in training.
    """

    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelPrediction:
    """What the model says about one image.

    Args:
        kind: What a label is.
        names: Classes or targets in order.
        scores: Probability of each class in 0..1 (of both for two classes), of each label, or the numbers.
        decision: Name of the decided class; names of the labels that are on; empty for numbers.
        thresholds: Probability from which the positive class, or each label, is decided; empty for several
            classes, of which the likeliest is taken, and for numbers.
        gaps: What the metadata left open; None if the model takes none.
    """

    kind: LabelKind
    names: tuple[str, ...]
    scores: tuple[float, ...]
    decision: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    gaps: MetadataGaps | None = None


@dataclass(frozen=True)
class LabelPredictor(PredictorBase):
    """A runtime with everything around it: raw image and metadata in, labels out.

    Args:
        kind: What a label is.
        targets: Names of the label columns.
        thresholds: One for two classes, one a target for several labels, else none.
        rounds: Views that are averaged: the image, its mirror image, and both moved to each side in turn.
        tables: How metadata are encoded, one for each member of the model; empty without metadata.
        budget: Limits for the bytes of one image.
        decoder: What decodes bytes.

    Example:
        >>> predictor = medloom.load("model.tar.gz")  # doctest: +SKIP
        >>> predictor.predict(Path("lesion.jpg").read_bytes(), metadata={"sex": "male"}).scores  # doctest: +SKIP
        (0.93, 0.07)
    """

    kind: LabelKind = "binary"
    targets: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    rounds: int = 1
    tables: tuple[TableEncoding, ...] = ()

    @property
    def at_least(self) -> tuple[int, int] | None:
        """What ``medloom.imaging.decode`` may reduce an image to; the same as for training."""
        return self.preprocess.at_least

    @property
    def names(self) -> tuple[str, ...]:
        """Classes, or targets where each has a score of its own."""
        return self.classes if self.kind in ("binary", "multi-class") else self.targets

    @property
    def metadata_columns(self) -> tuple[str, ...]:
        """Columns that a request may carry; a missing one counts as blank."""
        return self.tables[0].columns if self.tables else ()

    def predict(
        self,
        image: Input,
        *,
        metadata: Metadata | None = None,
        content_type: str | None = None,
        page: int | None = None,
    ) -> LabelPrediction:
        """Predict one image.

        Args:
            image: Bytes of an image file, a decoded image, or pixels ``(H, W, C)`` or ``(H, W)``.
            metadata: Values by column; missing ones count as blank.
            content_type: What the bytes are said to be; checked against what they are.
            page: Page of a file that has several.

        Raises:
            DecodeError: If the bytes are not an acceptable image.
            InputError: If the image is sound but not what this model takes, or so for the metadata.
        """
        given = metadata or {}
        prepared = self.prepare(image, content_type=content_type, page=page)
        found = self.finish(self.run(prepared.network_input[None], self.encode([given]))[0])
        return replace(found, gaps=self._gaps(given))

    def predict_batch(self, images: Sequence[Input], metadata: Sequence[Metadata] = ()) -> list[LabelPrediction]:
        """Predict several images, which may differ in size, in one call of the network."""
        if not images:
            return []
        prepared: list[Prepared] = [self.prepare(image) for image in images]
        batch = np.stack([one.network_input for one in prepared])
        given = metadata or [{}] * len(images)
        answers = zip(self.run(batch, self.encode(given)), given, strict=True)
        return [replace(self.finish(scores), gaps=self._gaps(row)) for scores, row in answers]

    def encode(self, metadata: Sequence[Metadata]) -> Floats | None:
        """Return ``(N, F)`` of the metadata of N images; None if the model takes none.

        Raises:
            InputError: If a column is not known, or a value is not a number where one is expected.
        """
        if not self.tables:
            if any(metadata):
                raise InputError("this model takes no metadata; send the image alone")
            return None
        rows = [_row(one, self.metadata_columns) for one in metadata]
        return np.concatenate([table.encode(rows) for table in self.tables], axis=1)

    def run(self, batch_nchw: Floats, table_nf: Floats | None = None) -> Floats:
        """Run the network over all views and return ``(N, K)`` float32.

        Args:
            batch_nchw: ``(N, C, h, w)`` float32, normalised.
            table_nf: ``(N, F)`` float32 from ``encode``.

        Raises:
            MedloomError: If a probability is not finite.
        """
        views = (_view(batch_nchw, number) for number in range(self.rounds))
        total = sum((self.runtime.run(view, table_nf) for view in views), np.float32(0.0))
        return finite(np.asarray(total / np.float32(self.rounds), np.float32))

    def finish(self, scores_k: Floats) -> LabelPrediction:
        """Decide by the thresholds.

        Args:
            scores_k: ``(K,)`` of one image.
        """
        scores = [float(score) for score in scores_k]
        if self.kind == "binary":
            scores = [1.0 - scores[0], scores[0]]
        return LabelPrediction(self.kind, self.names, tuple(scores), self._decide(scores), self.thresholds)

    def at(self, thresholds: Sequence[float]) -> LabelPredictor:
        """Return the same predictor with other thresholds."""
        return replace(self, thresholds=tuple(thresholds))

    def _gaps(self, metadata: Metadata) -> MetadataGaps | None:
        if not self.tables:
            return None
        words = {name: clean(text) for name, text in _row(metadata, self.metadata_columns).items()}
        missing = tuple(name for name, word in words.items() if is_blank(word))
        parts = [part for table in self.tables for part in table.categorical]
        seen = {part.column for part in parts if words[part.column] in part.categories}
        columns = dict.fromkeys(part.column for part in parts)
        return MetadataGaps(missing, tuple(name for name in columns if name not in seen and name not in missing))

    def _decide(self, scores: Sequence[float]) -> tuple[str, ...]:
        if self.kind == "real":
            return ()
        if self.kind == "multi-class":
            return (self.classes[int(np.argmax(scores))],)
        if self.kind == "binary":
            return (self.classes[int(scores[1] >= (self.thresholds or (0.5,))[0])],)
        limits = self.thresholds or (0.5,) * len(scores)
        rows = zip(self.targets, scores, limits, strict=True)
        return tuple(name for name, score, limit in rows if score >= limit)


def _row(metadata: Metadata, columns: Sequence[str]) -> dict[str, str]:
    unknown = [name for name in metadata if name not in columns]
    if unknown:
        raise InputError(f"{len(unknown)} metadata column(s) are not known; this model takes {', '.join(columns)}")
    return {name: _text(metadata.get(name)) for name in columns}


def _text(value: object) -> str:
    """A value as a table holds it; nothing is blank."""
    if value is None:
        return ""
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"a metadata value is {type(value).__name__}; expected text, a number or nothing")


def _view(batch_nchw: Floats, number: int) -> Floats:
    """View 0 is the image; odd ones are mirrored; from 2 on they are moved, edges repeated, in turn to each side."""
    moved = _moved(batch_nchw, (number - 2) // 2) if number > 1 else batch_nchw
    return np.ascontiguousarray(moved[..., ::-1]) if number % 2 else moved


def _moved(batch_nchw: Floats, number: int) -> Floats:
    height, width = batch_nchw.shape[2:]
    reach = 1 + number // 4
    rows, columns = (max(1, round(_STEP * reach * side / 2)) for side in (height, width))
    down, right = ((rows, 0), (-rows, 0), (0, columns), (0, -columns))[number % 4]
    y = np.clip(np.arange(height) + down, 0, height - 1)
    x = np.clip(np.arange(width) + right, 0, width - 1)
    return np.ascontiguousarray(batch_nchw[:, :, y][:, :, :, x])
