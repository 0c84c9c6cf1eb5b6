"""Volumes through a network of slices: the answer to each slice, put together in the volume's own geometry.

Each slice is predicted by itself, or by a model with context with those beside it. Such a model also takes pages of a
file and numbered files for a volume, whose place in the patient is then not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from medloom.data.context import OrderError, Spot, surroundings
from medloom.data.layouts.base import list_images
from medloom.data.opening import open_source
from medloom.data.sources import Source
from medloom.data.stacks import counts_up, image_spot, name_spots
from medloom.data.whole import has_dicom
from medloom.errors import DecodeError, InputError
from medloom.imaging import Budget, Image, Volume, strip_suffix
from medloom.imaging.canonical import Orientation, along, slice_of
from medloom.imaging.nifti_header import NO_SPACING
from medloom.inference import answers
from medloom.inference.answers import Prediction, VolumeAnswer
from medloom.inference.given import as_image, read_file
from medloom.inference.metadata import Metadata
from medloom.inference.prepared import Input, Prepared
from medloom.inference.stacks import Surrounded, alone, in_order
from medloom.wording import counted

if TYPE_CHECKING:
    from medloom.inference.predictor import Predictor

__all__ = [
    "Progress",
    "file_pages",
    "is_numbered",
    "numbered_images",
    "predict_numbered",
    "predict_pages",
    "predict_slices",
    "predict_volume",
    "slices_of",
    "surrounded_pages",
    "surrounded_slices",
]

Progress = Callable[[int, int], None]

_FEWEST = 2
_MASKS = "*_mask.*"
_PAGE_REQUIRED = "page_required"


def predict_volume(
    predictor: Predictor, volume: Volume, metadata: Metadata | None = None, *, progress: Progress | None = None
) -> VolumeAnswer:
    """Predict a volume slice by slice.

    Args:
        predictor: A model of one channel or of grey repeated as colours.
        volume: Its slices are what ``decode`` gives for the pages of the same file. One that is stored in another plane
            than the model learned from is cut along that plane.
        metadata: Values by column, for a model that takes some.
        progress: Called before each slice, or before as many as are predicted together, with how many are done and how
            many there are; what it raises ends the work.

    Returns:
        Of masks a ``VolumePrediction``, with the shape of ``volume.voxels``; of labels a ``LabelVolumePrediction``.

    Raises:
        InputError: If a slice is not what this model takes, or there is one alone and the model has context.

    Example:
        >>> volume = read_nifti_volume(Path("scan.nii.gz").read_bytes())  # doctest: +SKIP
        >>> predict_volume(medloom.load("model.tar.gz"), volume).volume_ml  # doctest: +SKIP
        12.7
    """
    cut, axis = along(volume, predictor.orientation)
    lenient = replace(predictor, strict=False)  # a volume is refused by most of its slices, not by one
    seen = surrounded_slices(lenient, cut, metadata)
    kind = answers.KINDS[predictor.target.kind]
    predictions = _familiar(predictor, _predictions(lenient, seen, len(cut.voxels), progress))
    return kind.gather(volume, predictions, axis=axis, target=predictor.target, point=predictor.point)


def surrounded_slices(predictor: Predictor, cut: Volume, metadata: Metadata | None) -> Surrounded:
    """Return what prepares the slices of a volume that is cut along the plane that the model takes.

    Raises:
        InputError: If there is one slice alone and the model has context.
    """
    count, reach = len(cut.voxels), predictor.context
    if reach and count < _FEWEST:
        raise alone(reach)
    upwards = not cut.oriented or counts_up(cut.affine, predictor.orientation)

    def prepare(number: int) -> Prepared:
        return predictor.prepare_slice(slice_of(cut, number), metadata=metadata)

    return Surrounded(prepare, in_order(count, reach, upwards=upwards))


def slices_of(volume: Volume, orientation: Orientation | None = None) -> Iterator[Image]:
    """Yield each slice as an image, in order.

    Args:
        volume: The volume.
        orientation: The plane to cut it along; as of ``Predictor.orientation``.
    """
    cut, _ = along(volume, orientation)
    for number in range(len(cut.voxels)):
        yield slice_of(cut, number)


def predict_pages(
    predictor: Predictor,
    data: bytes,
    metadata: Metadata | None = None,
    *,
    content_type: str | None = None,
    progress: Progress | None = None,
) -> VolumeAnswer:
    """Predict the pages of a file, such as a TIFF, as the slices of a volume, by a model with context.

    Args:
        predictor: The model.
        data: The file.
        metadata: Values by column.
        content_type: What the bytes are said to be.
        progress: As of ``predict_volume``.

    Raises:
        DecodeError: If the bytes are not an acceptable image.
        InputError: If there is one page alone, or the pages differ in size.
    """
    images = file_pages(predictor, data, content_type)
    return _predict_stack(predictor, images, _as_given(len(images)), metadata, progress)


def surrounded_pages(predictor: Predictor, data: bytes, metadata: Metadata | None) -> tuple[Surrounded, int]:
    """Return what prepares each page of a file by its number, and how many there are.

    Raises:
        DecodeError: If the bytes are not an acceptable image.
        InputError: If there is one page alone.
    """
    images = file_pages(predictor, data)
    return _stack(predictor, images, _as_given(len(images)), metadata), len(images)


def file_pages(predictor: Predictor, data: bytes, content_type: str | None = None) -> list[Image]:
    """Decode every page of a file; how many there are is only known to the decoder, which may be behind a fence.

    Raises:
        DecodeError: If the bytes are not an acceptable image, or its pages are over the budget together.
    """
    budget, images, held = predictor.budget, list[Image](), 0
    while True:
        try:
            images.append(predictor.decoder(data, content_type=content_type, page=len(images), budget=budget))
        except DecodeError as error:
            if error.code == _PAGE_REQUIRED and images:
                return images
            raise
        held = _within(held + images[-1].pixels.nbytes, budget)


def predict_numbered(
    predictor: Predictor, source: Source, metadata: Metadata | None = None, *, progress: Progress | None = None
) -> VolumeAnswer:
    """Predict the numbered slices in a folder or zip as a volume, by a model with context.

    Args:
        predictor: The model.
        source: Images of one stack, told apart by a number in their names; masks beside them are left out.
        metadata: Values by column.
        progress: As of ``predict_volume``.

    Raises:
        DecodeError: If one is not an acceptable image, or they are over the budget together.
        InputError: If they are not the slices of one stack, or differ in size.
    """
    images, spots = numbered_images(predictor, source)
    return _predict_stack(predictor, images, spots, metadata, progress)


def numbered_images(predictor: Predictor, source: Source) -> tuple[list[Image], list[Spot]]:
    """Decode the numbered slices in a folder or zip, and say where in their stack each lies.

    Args:
        predictor: The model.
        source: As of ``predict_numbered``.

    Raises:
        DecodeError: If one is not an acceptable image, or they are over the budget together.
        InputError: If they are not the slices of one stack.
    """
    names = [name for name in list_images(source.names(), source.read) if not fnmatch(name, _MASKS)]
    spots = name_spots([((str(PurePosixPath(name).parent),), strip_suffix(PurePosixPath(name).name)) for name in names])
    if None in spots or len({spot.stack for spot in spots if spot}) != 1:
        raise InputError(
            f"{counted(len(names), 'image is', 'images are')} not known to be the slices of one stack; expected files "
            "in one folder whose names differ in one number alone, such as slice_1.png, slice_2.png"
        )
    return _decoded(predictor, (source.read(name) for name in names)), [spot for spot in spots if spot]


def is_numbered(path: str | Path) -> bool:
    """Whether a path is that of a folder or zip without a DICOM file, whose images are the slices of a stack."""
    place = Path(path).expanduser()
    if not (place.is_dir() or (place.is_file() and place.suffix.lower() == ".zip")):
        return False
    with open_source(place) as source:
        return not has_dicom(source)


def predict_slices(
    predictor: Predictor, slices: Sequence[Input], metadata: Metadata | None = None, *, files: Budget
) -> list[Prediction]:
    """Predict the slices of one stack; see ``Predictor.predict_slices``.

    Args:
        predictor: The model.
        slices: One image each.
        metadata: Values by column.
        files: Limits for a file on this machine; bytes keep to those of the predictor.
    """
    images = [_image_of(predictor, one, files) for one in slices]
    seen = _stack(predictor, images, _as_given(len(images)), metadata)
    return [predictor.answer([seen(number)])[0] for number in range(len(images))]


def _image_of(predictor: Predictor, given: Input, files: Budget) -> Image:
    budget = predictor.budget
    if isinstance(given, (str, Path)):
        given, budget = read_file(given), files
    if isinstance(given, bytes):
        given = predictor.decoder(given, budget=budget, at_least=predictor.at_least)
    return as_image(given)


def _decoded(predictor: Predictor, files: Iterable[bytes]) -> list[Image]:
    """Decode files that are to be one volume; together they may cost what one may."""
    images, held, budget = list[Image](), 0, predictor.budget
    for data in files:
        images.append(predictor.decoder(data, budget=budget))
        held = _within(held + images[-1].pixels.nbytes, budget)
    return images


def _within(held: int, budget: Budget) -> int:
    if held > budget.max_decoded_bytes:
        raise DecodeError("too_large", f"the slices decode to more than {budget.max_decoded_bytes} bytes together")
    return held


def _as_given(count: int) -> list[Spot]:
    return [Spot((), float(number), "page") for number in range(count)]


def _stack(
    predictor: Predictor, images: Sequence[Image], spots: Sequence[Spot], metadata: Metadata | None
) -> Surrounded:
    """Return what prepares the slices of a stack; by their places in the patient where all of them say it."""
    reach, count = predictor.context, len(images)
    if reach and count < _FEWEST:
        raise alone(reach)
    placed = [image_spot(image, predictor.orientation) for image in images]
    known = [spot for spot in placed if spot is not None]
    try:
        beside = surroundings(known if len(known) == count else spots, reach) if reach else in_order(count, 0)
    except OrderError as error:
        raise InputError(str(error)) from error
    if beside.stacks > 1:
        raise InputError("the slices lie in several planes; expected those of one stack")
    return Surrounded(lambda number: predictor.prepare_slice(images[number], metadata=metadata), beside)


def _predict_stack(
    predictor: Predictor,
    images: Sequence[Image],
    spots: Sequence[Spot],
    metadata: Metadata | None,
    progress: Progress | None,
) -> VolumeAnswer:
    """Predict slices that are one stack as a volume whose place in the patient is not known."""
    lenient = replace(predictor, strict=False)
    seen, sizes = _stack(lenient, images, spots, metadata), {image.pixels.shape[:2] for image in images}
    if len(sizes) > 1:
        said = ", ".join(f"{height}x{width}" for height, width in sorted(sizes))
        raise InputError(f"the slices have several sizes: {said}; expected those of one stack")
    order = np.argsort([spot.place for spot in spots], kind="stable").tolist()
    notes = dict.fromkeys(note for image in images for note in image.notes)
    shape = (len(images), *images[0].pixels.shape[:2])
    volume = Volume(
        np.broadcast_to(np.uint8(0), shape), (1.0, 1.0, 1.0), np.eye(4), images[0].format, (*notes, NO_SPACING),
        oriented=False,
    )  # fmt: skip
    predictions = _familiar(predictor, _predictions(lenient, seen, len(images), progress, order))
    kind = answers.KINDS[predictor.target.kind]
    return kind.gather(volume, predictions, axis=0, target=predictor.target, point=predictor.point)


def _predictions(
    predictor: Predictor, seen: Surrounded, count: int, progress: Progress | None, order: Sequence[int] | None = None
) -> Iterator[Prediction]:
    numbers = range(count) if order is None else order
    for done in range(0, count, predictor.together):
        if progress:
            progress(done, count)
        yield from predictor.answer([seen(number) for number in numbers[done : done + predictor.together]])


def _familiar(predictor: Predictor, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """Yield the answers to slices; a strict predictor refuses the volume in the end if most of them have warnings.

    The first and last slices of a sound volume often have one, as they show little.

    Raises:
        InputError: If so.
    """
    slices, unlike, said = 0, 0, Counter[str]()
    for one in predictions:
        slices, unlike = slices + 1, unlike + bool(one.warnings)
        said.update(one.warnings)
        yield one
    if predictor.strict and 2 * unlike > slices:
        why = said.most_common(1)[0][0]
        raise InputError(f"unlike the training data: {unlike} of {slices} slices, most of them because {why}")
