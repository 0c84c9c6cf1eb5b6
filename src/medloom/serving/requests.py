"""What a request asks for: an image or a volume, alone or with metadata, and how it is predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from medloom.data.whole import ZIP_MAGIC, has_dicom, may_be_whole, open_zip

__all__ = ["ImageRequest", "page_of", "predict", "predict_whole", "read_whole_volume"]
from medloom.imaging import Volume
from medloom.inference import Prediction, Predictor, VolumeAnswer
from medloom.inference.stacks import alone
from medloom.inference.volumes import predict_numbered, predict_pages, predict_volume
from medloom.serving.problems import Problem

__all__ = ["ImageRequest", "page_of", "predict", "predict_whole", "read_whole_volume"]


@dataclass(frozen=True)
class ImageRequest:
    """What is to be predicted.

    Args:
        image: The image's bytes.
        content_type: What they are said to be; empty if nothing was said.
        metadata: Values by column.
        page: Page of a file that has several; None if nothing was said.
        series: Which DICOM series of a zip, by its index or UID; None if nothing was said.
        url: Where the image is to be fetched from before it is predicted; empty if it is here.
    """

    image: bytes
    content_type: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    page: int | None = None
    series: str | None = None
    url: str = ""


def predict(
    predictor: Predictor,
    asked: ImageRequest,
    page: int | None,
    *,
    one_slice: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Prediction | VolumeAnswer:
    """Answer a request: an image, or where no page is named, a volume of several slices as a whole.

    Args:
        predictor: The model.
        asked: The image or volume with its metadata.
        page: Page of a file that has several, where the request names none.
        one_slice: Whether a volume of one slice is answered as a volume; else it is an image.
        progress: Called before each slice of a volume with how many are done and how many there are; what it raises
            ends the work.

    Raises:
        DecodeError: If the bytes are not an acceptable image.
        InputError: If the image is sound but not what this model takes, or so for the metadata.
    """
    page = page_of(asked, page)
    whole = predict_whole(predictor, asked, page, one_slice=one_slice, progress=progress)
    if whole is not None:
        return whole
    return predictor.predict(asked.image, metadata=asked.metadata, content_type=asked.content_type, page=page)


def page_of(asked: ImageRequest, page: int | None) -> int | None:
    """Return the page that a request names, else ``page``."""
    return page if asked.page is None else asked.page


def predict_whole(
    predictor: Predictor,
    asked: ImageRequest,
    page: int | None,
    *,
    one_slice: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> VolumeAnswer | None:
    """Answer a request for a volume; None where it is one for an image, as ``predict`` tells them apart.

    Args:
        predictor: The model.
        asked: The image or volume with its metadata.
        page: From ``page_of``.
        one_slice: As of ``predict``.
        progress: As of ``predict``.
    """
    if predictor.context:
        return _surrounded(predictor, asked, page, progress)
    volume = read_whole_volume(predictor, asked, page, one_slice=one_slice)
    return None if volume is None else predict_volume(predictor, volume, asked.metadata, progress=progress)


def read_whole_volume(
    predictor: Predictor, asked: ImageRequest, page: int | None, *, one_slice: bool = False
) -> Volume | None:
    """Read what is predicted as a whole; None where a request is for an image.

    Args:
        predictor: Its decoders and what they may spend; a model with context takes one slice for a volume.
        asked: The image or volume.
        page: From ``page_of``.
        one_slice: As of ``predict``.
    """
    if page is None and (asked.series is not None or may_be_whole(asked.image)):
        volume = predictor.volume_decoder(
            asked.image, content_type=asked.content_type, series=asked.series, budget=predictor.budget
        )
        one_slice = one_slice or predictor.context > 0 or asked.image.startswith(ZIP_MAGIC)
        return volume if volume is not None and (one_slice or len(volume.voxels) > 1) else None
    if page is not None and asked.series is not None:
        raise Problem(400, "bad_page", "a series is predicted whole and a page is one image", "Name one of them.")
    return None


def _surrounded(
    predictor: Predictor, asked: ImageRequest, page: int | None, progress: Callable[[int, int], None] | None
) -> VolumeAnswer:
    """Answer a model that sees each slice with those beside it: a volume, the pages of a file, or numbered slices."""
    data, declared = asked.image, asked.content_type
    if page is not None:
        raise alone(predictor.context)
    if data.startswith(ZIP_MAGIC) and asked.series is None:
        with open_zip(data, declared, predictor.budget) as source:
            if not has_dicom(source):
                return predict_numbered(predictor, source, asked.metadata, progress=progress)
    volume = read_whole_volume(predictor, asked, page)
    if volume is not None:
        return predict_volume(predictor, volume, asked.metadata, progress=progress)
    return predict_pages(predictor, data, asked.metadata, content_type=declared, progress=progress)
