"""The only way from an image to a prediction, in three named steps: prepare, run, finish.

Validation, the test report, the command line and the server all call this object, so the metrics that
are reported are those of what is served.

Shapes: N images, C channels, h and w of the network's image, K outputs, F columns of encoded metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, cast, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from medloom.data.metadata import TableEncoding
from medloom.data.opening import open_source
from medloom.data.whole import read_sources, read_whole
from medloom.errors import BundleError, InputError, MedloomError, NotFiniteError
from medloom.imaging import DEFAULT_BUDGET, FILE_BUDGET, Budget, Image, Volume, decode
from medloom.imaging.canonical import Orientation, turned
from medloom.inference import answers
from medloom.inference.answers import Answers, Point, Prediction, VolumeAnswer
from medloom.inference.appearance import Appearance, describe_image
from medloom.inference.batches import predict_batch
from medloom.inference.calibration import Calibration
from medloom.inference.fingerprint import Fingerprint
from medloom.inference.given import as_image, read_file, read_path
from medloom.inference.in_memory import run_in_memory
from medloom.inference.measures import measure
from medloom.inference.metadata import Metadata, encode, gaps_of
from medloom.inference.prepared import Decoder, Input, Prepared, SourceReader, VolumeDecoder
from medloom.inference.quality import Quality
from medloom.inference.runtimes import Runtime, run_with_features
from medloom.inference.stacks import alone
from medloom.inference.views import View, view
from medloom.inference.volumes import is_numbered, predict_numbered, predict_pages, predict_slices, predict_volume
from medloom.targets import Target
from medloom.transforms.preprocess import Preprocess

__all__ = ["Predictor"]

Floats32 = NDArray[np.float32]

_Ask = Callable[[Floats32, Floats32 | None], Floats32]

P = TypeVar("P", bound=Prediction, default=Prediction, covariant=True)
"""What is predicted for an image."""

V = TypeVar("V", bound=VolumeAnswer, default=VolumeAnswer, covariant=True)
"""What is predicted for a volume."""

_UNSTATED = "the image does not say how it is oriented and is taken as stored; those of the training data say it"


@dataclass(frozen=True)
class Predictor(Generic[P, V]):
    """A runtime with everything around it: raw image in, prediction out; of a mask in the image's own geometry.

    For type checkers it says what it predicts: ``medloom.load(bundle, kind="masks")`` is a
    ``Predictor[MaskPrediction, VolumePrediction]``, other kinds give a ``Predictor[LabelPrediction,
    LabelVolumePrediction]``; ``Predictor`` alone leaves it open.

    Args:
        runtime: What runs the network.
        preprocess: The deterministic steps before and after it.
        target: What is predicted.
        channels: Names of the channels that an image must have, in order.
        point: The operating point; see ``default_point``.
        views: How many views of the image are averaged, each for the price of one: 1 is the image, 2 also its mirror
            image, more both moved to each side in turn.
        orientation: The plane of the images that the model learned from, ``any`` for several: an image is turned as it
            is looked at before the network sees it, and the answer is turned back. None takes images as stored.
        context: How many slices on either side the network sees with each; 0 for each image by itself.
        tables: How metadata are encoded, one for each member of the model; empty without metadata.
        calibration: What corrects the network's probabilities; None leaves them as they are.
        quality: What says how good an answer is to be expected; None where that is not known.
        budget: Limits for the bytes of one image; the default takes larger ones from files on this machine.
        decoder: What decodes bytes; a server takes that of `medloom.imaging.fence`.
        volume_decoder: The same for volumes.
        source_reader: The same for what a DICOM object made from an answer repeats of its images.
        appearance: How the training images look; None where it is not known.
        fingerprint: What each image is tested against, so that its answer says how far it is from those of the
            training; None where the model does not know.
        looks: Describe images as decoded although nothing here compares them with others.
        strict: Refuse images and metadata unlike those of the training instead of answering with ``warnings``; of a
            volume that is one of which more than half of the slices have them.
        together: How many slices of a volume go through the network in one call.

    Example:
        >>> predictor = medloom.load("model.tar.gz")  # doctest: +SKIP
        >>> predictor.predict("image.tif").plain()["area_px"]  # doctest: +SKIP
        812
    """

    runtime: Runtime
    preprocess: Preprocess
    target: Target
    channels: tuple[str, ...]
    _: KW_ONLY
    point: Point
    views: int = 1
    orientation: Orientation | None = None
    context: int = 0
    tables: tuple[TableEncoding, ...] = ()
    calibration: Calibration | None = None
    quality: Quality | None = None
    budget: Budget = DEFAULT_BUDGET
    decoder: Decoder = decode
    volume_decoder: VolumeDecoder = read_whole
    source_reader: SourceReader = read_sources
    appearance: Appearance | None = None
    fingerprint: Fingerprint | None = None
    looks: bool = False
    strict: bool = False
    together: int = 1

    @property
    def forms(self) -> tuple[str, ...]:
        """Media types that a prediction can be encoded as, JSON first."""
        return self._answers.forms

    @property
    def volume_forms(self) -> tuple[str, ...]:
        """The same for the prediction of a volume."""
        return self._answers.volume_forms

    @property
    def at_least(self) -> tuple[int, int] | None:
        """What `medloom.imaging.decode` may reduce an image to; None where the answer is as large as the image."""
        return self._answers.at_least(self.preprocess)

    @property
    def metadata_columns(self) -> tuple[str, ...]:
        """Columns that a request may carry; a missing one counts as blank."""
        return self.tables[0].columns if self.tables else ()

    @property
    def _file_budget(self) -> Budget:
        """Limits for a file on this machine."""
        return FILE_BUDGET if self.budget is DEFAULT_BUDGET else self.budget

    @property
    def _answers(self) -> Answers:
        return answers.KINDS[self.target.kind]

    @overload
    def predict(
        self,
        image: bytes | Image | NDArray[Any],
        *,
        metadata: Metadata | None = None,
        content_type: str | None = None,
        page: int | None = None,
    ) -> P: ...

    @overload
    def predict(self, image: Volume, *, metadata: Metadata | None = None) -> V: ...

    @overload
    def predict(
        self,
        image: str | Path,
        *,
        metadata: Metadata | None = None,
        content_type: str | None = None,
        page: int | None = None,
        series: int | str | None = None,
    ) -> P | V: ...

    def predict(
        self,
        image: Input | Volume,
        *,
        metadata: Metadata | None = None,
        content_type: str | None = None,
        page: int | None = None,
        series: int | str | None = None,
    ) -> P | V:
        """Predict one image or one volume.

        The path of a volume is that of a NIfTI file, of an enhanced DICOM file, or of a folder or zip that is one DICOM
        series. Each slice is predicted by itself, or with the slices beside it by a model with ``context``; such a one
        also takes a TIFF of several pages, and a folder or zip with the numbered slices of one patient, for a volume.

        Args:
            image: Path of an image or volume, an image's bytes, a decoded image or volume, or pixels ``(H, W, C)`` or
                ``(H, W)``.
            metadata: Values by column; missing ones count as blank.
            content_type: What the bytes are said to be; checked against what they are.
            page: Page of a file that has several; that one alone is predicted, as an image.
            series: Which series of a folder that holds several: its index in the order of the UIDs, or its UID.

        Returns:
            Of an image a ``MaskPrediction`` or ``LabelPrediction``, of a volume a ``VolumePrediction`` or
            ``LabelVolumePrediction``.

        Raises:
            DecodeError: If the bytes are not an acceptable image.
            DataError: If the files of a folder are not one whole series.
            InputError: If there is no such file, pixels are NaN or infinite, the image is not what this model takes,
                or so for the metadata; where the predictor is ``strict`` also if one is unlike those of the training.
        """
        if isinstance(image, (str, Path)):
            if self.context and series is None and page is None and is_numbered(image):
                with open_source(Path(image).expanduser()) as source:
                    return cast(V, predict_numbered(replace(self, budget=self._file_budget), source, metadata))
            image = read_path(image, page=page, series=series, budget=self._file_budget)
            if isinstance(image, bytes):
                large = replace(self, budget=self._file_budget)
                return large.predict(image, metadata=metadata, content_type=content_type, page=page)
        if isinstance(image, Volume):
            return cast(V, predict_volume(self, image, metadata))  # its answers are those of the target, as P is
        if self.context and isinstance(image, bytes) and page is None:
            return cast(V, predict_pages(self, image, metadata, content_type=content_type))
        return self.answer([self.prepare(image, metadata=metadata, content_type=content_type, page=page)])[0]

    def predict_slices(self, slices: Sequence[Input], *, metadata: Metadata | None = None) -> list[P]:
        """Predict the slices of one stack, each with those beside it by a model with ``context``.

        Slices that say where they lie in the patient (DICOM, NIfTI) are put in order by it. Others are taken in the
        order in which they are given, which must be that of the training: of pages, or of the numbers in names.

        Args:
            slices: Paths of images, their bytes, decoded images or pixels, as for ``predict``; at least two.
            metadata: Values by column, of all of them.

        Returns:
            The prediction of each, in the order given.

        Raises:
            DecodeError: If the bytes of one are not an acceptable image.
            InputError: If there is one alone, two lie at one place, or one is not what this model takes.

        Example:
            >>> predictor.predict_slices(sorted(folder.glob("*.png")))  # doctest: +SKIP
        """
        return cast("list[P]", predict_slices(self, slices, metadata, files=self._file_budget))

    @overload
    def predict_batch(
        self, images: Sequence[Input], metadata: Sequence[Metadata] = (), *, on_error: Literal["raise"]
    ) -> list[P]: ...

    @overload
    def predict_batch(
        self, images: Sequence[Input], metadata: Sequence[Metadata] = (), *, on_error: Literal["return"] = "return"
    ) -> list[P | MedloomError]: ...

    def predict_batch(
        self,
        images: Sequence[Input],
        metadata: Sequence[Metadata] = (),
        *,
        on_error: Literal["raise", "return"] = "return",
    ) -> list[P] | list[P | MedloomError]:
        """Predict several images, which may differ in size, in one call of the network for each view.

        One image that cannot be predicted does not lose the others: its error stands in its place.

        Args:
            images: As for ``predict``; no volumes.
            metadata: Values by column, one for each image; empty where nothing is known of any.
            on_error: ``return`` puts the error in the place of the prediction; ``raise`` raises the first one.

        Returns:
            For each image in order its prediction, or the ``DecodeError``, ``InputError`` or other ``MedloomError``
            that ``predict`` would have raised for it.

        Raises:
            InputError: If there are metadata, but not one row for each image.
            BundleError: If the model cannot be run at all.

        Example:
            >>> for name, found in zip(names, predictor.predict_batch(names)):  # doctest: +SKIP
            ...     print(name, found if isinstance(found, Exception) else found.plain())
        """
        return cast("list[P] | list[P | MedloomError]", predict_batch(self, images, metadata, on_error))

    def prepare(
        self,
        image: Input,
        *,
        metadata: Metadata | None = None,
        content_type: str | None = None,
        page: int | None = None,
    ) -> Prepared:
        """Encode the metadata, decode, check the channels and preprocess; see ``predict``.

        Raises:
            InputError: Also where the model has ``context``: one image alone is not what it sees.
        """
        if self.context:
            raise alone(self.context)
        return self.prepare_slice(image, metadata=metadata, content_type=content_type, page=page)

    def prepare_slice(
        self,
        image: Input,
        *,
        metadata: Metadata | None = None,
        content_type: str | None = None,
        page: int | None = None,
    ) -> Prepared:
        """Prepare one slice as ``prepare`` does, of a model with ``context`` without the slices beside it."""
        said = metadata or {}
        table_nf, gaps = self.encode([said]), gaps_of(self.tables, said)  # first: a refusal that costs next to nothing
        budget = self.budget
        if isinstance(image, (str, Path)):
            image, budget = read_file(image), self._file_budget
        if isinstance(image, bytes):
            image = self.decoder(image, content_type=content_type, page=page, budget=budget, at_least=self.at_least)
        image = as_image(image)
        given = self.preprocess.to_input(image, self.channels)
        seen, turn = turned(given, self.orientation)
        look = self._look(image)
        unlike = () if self.appearance is None or look is None else self.appearance.said(look)
        warnings = (*(() if gaps is None else gaps.said), *unlike)
        if self.orientation is not None and given.axes is None:
            warnings = (*warnings, _UNSTATED)
        if self.strict and warnings:
            raise InputError(f"unlike the training data: {'; '.join(warnings)}")
        return Prepared(self.preprocess(seen), given, turn, table_nf, gaps, warnings, look=look)

    def answer(self, prepared: Sequence[Prepared]) -> list[P]:
        """Predict several prepared images in one call of the network for each view."""
        if not prepared:
            return []
        tables = [one.table_nf for one in prepared if one.table_nf is not None]
        batch = np.stack([one.network_input for one in prepared])
        found, features = self.run_with_features(batch, np.concatenate(tables) if tables else None)
        rows = [None] * len(prepared) if features is None else features
        return [self.finish(*one) for one in zip(found, prepared, rows, strict=True)]

    def encode(self, metadata: Sequence[Metadata]) -> Floats32 | None:
        """Return ``(N, F)`` of the metadata of N images; None if the model takes none.

        Raises:
            InputError: If the model takes none, a column is not known, or a value is not a number where one is
                expected.
        """
        return encode(self.tables, metadata)

    def run(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32:
        """Run the network over all views.

        Args:
            batch_nchw: ``(N, C, h, w)`` float32, normalised.
            table_nf: ``(N, F)`` float32 from ``encode``.

        Returns:
            ``(N, K, h, w)`` probabilities on the network's grid, or ``(N, K)`` for labels of the whole image; float32,
            calibrated where the predictor is.

        Raises:
            BundleError: If the network answers with another shape: it is not the one of this bundle.
            NotFiniteError: If one of them is not finite.
        """
        return self._run(batch_nchw, table_nf, self.runtime.run)

    def run_with_features(
        self, batch_nchw: Floats32, table_nf: Floats32 | None = None
    ) -> tuple[Floats32, Floats32 | None]:
        """Run the network over all views, and keep what its deepest layer makes of the images themselves.

        Args:
            batch_nchw: As for ``run``.
            table_nf: As for ``run``.

        Returns:
            What ``run`` gives, and ``(N, E)`` float32 for ``finish``; None where nothing asks for it, or the model
            cannot say. It costs next to nothing.

        Raises:
            BundleError: As ``run``.
            NotFiniteError: As ``run``.
        """
        if not self.looks and (self.fingerprint is None or self.fingerprint.embedding is None):
            return self.run(batch_nchw, table_nf), None
        kept: list[Floats32 | None] = []

        def ask(batch: Floats32, table: Floats32 | None) -> Floats32:
            answer, features = run_with_features(self.runtime, batch, table)
            kept.append(features)
            return answer

        answers = self._run(batch_nchw, table_nf, self.runtime.run, first=ask)
        found = [one for one in kept if one is not None]
        return answers, np.concatenate(found) if found else None

    def _run(
        self, batch_nchw: Floats32, table_nf: Floats32 | None, ask: _Ask, *, first: _Ask | None = None
    ) -> Floats32:
        mean = self._answers.mean(self._seen(batch_nchw, table_nf, ask, first or ask))
        if not np.isfinite(mean).all():
            raise NotFiniteError(
                "the network gave a probability that is not finite: the model is damaged, or the image holds values "
                "far beyond those that it learned from"
            )
        return self.calibrated(mean)

    def calibrated(self, answer: Floats32) -> Floats32:
        """Correct the probabilities ``(N, K, ...)`` of the network, where the predictor has a calibration."""
        return answer if self.calibration is None else self.calibration(answer, self.target.activation)

    def finish(self, answer: Floats32, prepared: Prepared, features: Floats32 | None = None) -> P:
        """Make the prediction out of what ``run`` gave for one image.

        Args:
            answer: ``(K, h, w)`` or ``(K,)`` float32.
            prepared: The image it belongs to.
            features: ``(E,)`` from ``run_with_features``; without them an image is known by what is measured of it.

        Raises:
            InputError: If the predictor is ``strict`` and the image is set apart from those of the training.
        """
        made = self._answers.finish(answer, prepared, target=self.target, point=self.point, preprocess=self.preprocess)
        if self.quality is not None:
            made = made.rated(self.quality.rate(self.certainty(answer)))
        if self.fingerprint is not None and prepared.look is not None:
            row = None if features is None else features[None].astype(np.float64)
            novelty = self.fingerprint.novelties(measure(prepared)[None], row)[0]
            if self.strict and novelty.flagged:
                raise InputError(f"unlike the training data: {'; '.join(novelty.warnings)}")
            made = made.placed(novelty)
        return cast(P, made)  # the target, by which the answers are chosen, says what P is

    def certainty(self, answer: Floats32) -> tuple[float, ...]:
        """Return how sure what ``run`` gave for one image is, in a few numbers; see ``Answers.certainty``."""
        return self._answers.certainty(answer, self.point)

    def at(self, point: Point) -> Predictor[P, V]:
        """Return the same predictor at another operating point."""
        return replace(self, point=point)

    def _look(self, image: Image) -> NDArray[np.float64] | None:
        """How an image as decoded looks, where something asks for it."""
        asked = self.looks or self.appearance is not None or self.fingerprint is not None
        return describe_image(turned(image, self.orientation)[0].pixels) if asked else None

    def _seen(
        self, batch_nchw: Floats32, table_nf: Floats32 | None, ask: _Ask, first: _Ask
    ) -> Iterator[tuple[View, Floats32]]:
        height, width = batch_nchw.shape[2:]
        for number in range(self.views):
            one = view(number, height, width)
            answer = run_in_memory(ask if number else first, one.apply(batch_nchw), table_nf)
            expected = self._answers.shape(batch_nchw.shape, self.target.outputs)
            if answer.shape != expected:
                raise BundleError(f"the model answers with the shape {answer.shape}; expected {expected}")
            yield one, answer
