"""Predict many files: masks and overlays as PNG, one table; a bad file never stops the rest."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath

from medloom.data.sources import Source, open_source
from medloom.errors import UserError
from medloom.files import write_text
from medloom.imaging import FORMATS_BY_SUFFIX, encode_png
from medloom.inference.base import Prepared
from medloom.inference.encoding import mask_png, overlay
from medloom.inference.predictor import Prediction, Predictor

__all__ = ["FileResult", "ImageFile", "open_images", "predict_files"]


@dataclass(frozen=True)
class ImageFile:
    """One image that can be read.

    Args:
        name: As the user knows it: the path, or the name inside the folder or zip.
        read: Gives its bytes.
    """

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class FileResult:
    """One row of ``predictions.csv``.

    Args:
        file: Name of the image.
        area_px: Foreground pixels; None if there is an error.
        area_mm2: Their area, or None if the image does not say how large its pixels are.
        probability: Largest lesion probability of any pixel.
        lesion: ``yes`` or ``no``; empty if there is an error.
        mask: The mask, relative to the output folder.
        overlay: The image with the mask's outline, relative to the output folder.
        error: Why there is no prediction.
    """

    file: str
    area_px: int | None = None
    area_mm2: float | None = None
    probability: float | None = None
    lesion: str = ""
    mask: str = ""
    overlay: str = ""
    error: str = ""


@contextmanager
def open_images(paths: Iterable[str | Path], skip: Sequence[str] = ()) -> Iterator[list[ImageFile]]:
    """List the images in files, folders and zips, to be read inside the ``with`` block.

    A file that is named is always listed, whatever its suffix; in a folder or zip, only images are.

    Args:
        paths: Files, folders and zips.
        skip: Patterns of names in folders and zips to leave out, such as ``*_mask.*``.

    Raises:
        DataError: If a path is missing or a zip is not safe to read.
    """
    with ExitStack() as stack:
        images: list[ImageFile] = []
        for path in map(Path, paths):
            if path.is_file() and path.suffix.lower() != ".zip":
                images.append(ImageFile(path.name, path.read_bytes))
            else:
                images += _in_source(stack.enter_context(open_source(path)), skip)
        yield images


def predict_files(
    predictor: Predictor,
    images: Sequence[ImageFile],
    folder: Path,
    *,
    page: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[FileResult]:
    """Predict images one by one and write ``masks/``, ``overlays/`` and ``predictions.csv``.

    Args:
        predictor: The model.
        images: What to predict.
        folder: Where to write.
        page: Page of TIFFs that have several.
        progress: Called with how many are done and how many there are.

    Returns:
        One result for each image, in order; a bad image has an ``error``.
    """
    names = _OutputNames()
    results = []
    for done, image in enumerate(images, start=1):
        results.append(_predict_file(predictor, image, folder, names, page))
        if progress:
            progress(done, len(images))
    write_text(folder / "predictions.csv", _table(results))
    return results


def _in_source(source: Source, skip: Sequence[str]) -> Iterator[ImageFile]:
    for name in sorted(source.names()):
        wanted = PurePosixPath(name).suffix.lower() in FORMATS_BY_SUFFIX
        if wanted and not any(fnmatch(name, pattern) for pattern in skip):
            yield ImageFile(name, partial(source.read, name))


def _predict_file(
    predictor: Predictor, image: ImageFile, folder: Path, names: _OutputNames, page: int | None
) -> FileResult:
    try:
        prepared = predictor.prepare(image.read(), page=page)
        prediction = predictor.finish(predictor.run(prepared.network_input[None])[0], prepared)
    except (UserError, OSError) as error:
        return FileResult(image.name, error=str(error))
    return _write(prediction, prepared, image.name, folder, names.give(image.name))


def _write(prediction: Prediction, prepared: Prepared, file: str, folder: Path, name: str) -> FileResult:
    mask, drawn = f"masks/{name}", f"overlays/{name}"
    _put(folder / mask, mask_png(prediction))
    _put(folder / drawn, encode_png(overlay(prepared.pixels, prediction.mask)))
    return FileResult(
        file=file,
        area_px=prediction.area_px,
        area_mm2=prediction.area_mm2,
        probability=round(prediction.probability, 6),
        lesion="yes" if prediction.has_lesion else "no",
        mask=mask,
        overlay=drawn,
    )


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


class _OutputNames:
    """Gives each image a file name of its own below the output folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, name: str) -> str:
        """Return the image's own relative path with ``.png``, without steps upwards, numbered if taken."""
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..")]
        stem = PurePosixPath(*parts).with_suffix("") if parts else PurePosixPath("image")
        chosen, number = f"{stem}.png", 2
        while chosen.lower() in self._taken:
            chosen, number = f"{stem}-{number}.png", number + 1
        self._taken.add(chosen.lower())
        return chosen


def _table(results: Sequence[FileResult]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(FileResult)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(result) for result in results)
    return text.getvalue()
