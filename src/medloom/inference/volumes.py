"""Volumes through a network of slices: each slice predicted by itself, the answer in the volume's own geometry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from medloom.imaging import Image, Volume
from medloom.imaging.canonical import Orientation, along, slice_of
from medloom.inference import answers
from medloom.inference.answers import Prediction, VolumeAnswer
from medloom.inference.metadata import Metadata

if TYPE_CHECKING:
    from medloom.inference.predictor import Predictor

__all__ = ["predict_volume", "slices_of"]


def predict_volume(
    predictor: Predictor,
    volume: Volume,
    metadata: Metadata | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> VolumeAnswer:
    """Predict a volume slice by slice.

    Args:
        predictor: A model of one channel or of grey repeated as colours.
        volume: Its slices are what ``decode`` gives for the pages of the same file. One that is stored in another plane
            than the model learned from is cut along that plane.
        metadata: Values by column, for a model that takes some.
        progress: Called before each slice with how many are done and how many there are; what it raises ends the work.

    Returns:
        Of masks a ``VolumePrediction``, with the shape of ``volume.voxels``; of labels a ``LabelVolumePrediction``.

    Raises:
        InputError: If a slice is not what this model takes.

    Example:
        >>> volume = read_nifti_volume(Path("scan.nii.gz").read_bytes())  # doctest: +SKIP
        >>> predict_volume(medloom.load("model.tar.gz"), volume).volume_ml  # doctest: +SKIP
        12.7
    """

    def predictions() -> Iterator[Prediction]:
        for number in range(len(cut.voxels)):
            if progress:
                progress(number, len(cut.voxels))
            image = slice_of(cut, number)
            yield predictor.answer([predictor.prepare(image, metadata=metadata)])[0]

    cut, axis = along(volume, predictor.orientation)
    kind = answers.KINDS[predictor.target.kind]
    return kind.gather(volume, predictions(), axis=axis, target=predictor.target, point=predictor.point)


def slices_of(volume: Volume, orientation: Orientation | None = None) -> Iterator[Image]:
    """Yield each slice as an image, in order.

    Args:
        volume: The volume.
        orientation: The plane to cut it along; as of ``Predictor.orientation``.
    """
    cut, _ = along(volume, orientation)
    for number in range(len(cut.voxels)):
        yield slice_of(cut, number)
