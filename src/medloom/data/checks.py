"""Whether the files of a sample fit the recipe and each other, and what is said where they do not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DataError, DecodeError
from medloom.imaging import Image
from medloom.targets import IGNORED
from medloom.wording import counted

__all__ = [
    "FILE_ERRORS",
    "ClassMap",
    "UnfitError",
    "check_quarantine",
    "check_same_size",
    "check_some_known",
    "explain",
    "joined_classes",
    "mask_classes",
    "named",
    "size_text",
    "value_plane",
]

FILE_ERRORS = (DataError, DecodeError, OSError, ValueError)
"""Whatever reading, decoding and checking one file may raise."""

T = TypeVar("T")
Mask = NDArray[np.uint8]

_SHOWN_VALUES = 8
_HINTED_FROM = 250  # 255 and 254 are what tools give to pixels that nobody is to count
_WITH_ALPHA = (2, 4)


class UnfitError(ValueError):
    """A file that can be read and does not fit the recipe or its partner.

    Args:
        kind: ``channels``, ``grid``, ``ignored``, ``size`` or ``values``, for the accounting.
        message: What came and what was expected; names no file.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class ClassMap:
    """From a mask's pixel values to class indices.

    Args:
        values: Pixel value of each class, the background first; the recipe's ``target.mask_values``.
        ignored: Pixel values that count nowhere; the recipe's ``target.ignore``.
        tolerance: How far a value may be from that of its class; the recipe's ``target.mask_tolerance``.
        colours: Colour of each class where masks are pictures; the recipe's ``target.mask_colours``.
        class_of: Says of which class the file of a mask is, where each class has its own; None where a file has all.

    Example:
        >>> ClassMap({"background": 0, "lesion": 255})(np.array([[0, 255]], np.uint8)).tolist()
        [[0, 1]]
    """

    def __init__(
        self,
        values: dict[str, int],
        ignored: Collection[int] = (),
        tolerance: int = 0,
        colours: Mapping[str, tuple[int, int, int]] | None = None,
        class_of: Callable[[str], str] | None = None,
    ) -> None:
        self.values = values
        self.ignored = tuple(ignored)
        self.tolerance = tolerance
        self.colours = dict(colours or {})
        self._class_of = class_of

    def __call__(self, pixels_hw: NDArray[Any]) -> Mask:
        """Return class indices.

        Args:
            pixels_hw: ``(H, W)``, any dtype.

        Returns:
            ``(H, W)`` uint8; ``medloom.targets.IGNORED`` where a pixel counts nowhere.

        Raises:
            UnfitError: If a pixel has a value of no class.
        """
        classes = np.zeros(pixels_hw.shape, np.uint8)
        known = 0
        # A comparison for each class is five times faster than looking every pixel up in a table.
        for index, value in enumerate(self.values.values()):
            here = self._at(pixels_hw, value)
            known += int(np.count_nonzero(here))
            if index:
                classes |= here.view(np.uint8) * np.uint8(index)
        for value in self.ignored:
            here = self._at(pixels_hw, value)
            known += int(np.count_nonzero(here))
            classes[here] = IGNORED
        if known != pixels_hw.size:
            raise self._others(pixels_hw)
        return classes

    def of_file(self, name: str) -> ClassMap:
        """Return how the pixels of a file are read: where each class has its own, all that is not 0 is of its class."""
        return self if self._class_of is None else _OneClass(self, self._class_of(name))

    def of_colours(self, pixels_hwc: NDArray[Any]) -> Mask:
        """Return class indices of a mask that is saved as a picture.

        Args:
            pixels_hwc: ``(H, W, C)`` with 1 or 3 channels.

        Raises:
            UnfitError: If a pixel has a colour of no class.
        """
        classes = np.zeros(pixels_hwc.shape[:2], np.uint8)
        known = np.zeros(classes.shape, np.bool_)
        indices = {name: index for index, name in enumerate(self.values)}
        for name, colour in self.colours.items():
            here = (pixels_hwc == np.array(colour)).all(axis=2)
            classes[here], known = indices.get(name, IGNORED), known | here
        if not known.all():
            others = np.unique(pixels_hwc[~known], axis=0)
            shown = ", ".join(str(tuple(colour)) for colour in others[:_SHOWN_VALUES].tolist())
            more = f" and {len(others) - _SHOWN_VALUES} more" if len(others) > _SHOWN_VALUES else ""
            expected = ", ".join(f"{colour} ({name})" for name, colour in self.colours.items())
            raise UnfitError("values", f"mask has the colours {shown}{more}; expected only {expected}")
        return classes

    def named(self, index: int) -> str:
        """Return the name of a class index."""
        return "ignored" if index == IGNORED else list(self.values)[index]

    def _at(self, pixels_hw: NDArray[Any], value: int) -> NDArray[np.bool_]:
        """Where pixels have the value of a class."""
        if not self.tolerance:
            return np.asarray(pixels_hw == value)
        wide = pixels_hw.astype(np.float64) if pixels_hw.dtype.kind == "f" else pixels_hw.astype(np.int64)
        return np.asarray(np.abs(wide - value) <= self.tolerance)

    def knows(self, pixels_hw: NDArray[Any]) -> bool:
        """Whether every pixel has the value of a class, or one that counts nowhere."""
        return bool(np.isin(pixels_hw, self._meant).all())

    @property
    def _meant(self) -> list[int]:
        return [*self.values.values(), *self.ignored]

    def _others(self, pixels_hw: NDArray[Any]) -> UnfitError:
        others = [value for value in np.unique(pixels_hw) if value not in self._meant]
        shown = ", ".join(map(_shown, others[:_SHOWN_VALUES]))
        more = f" and {len(others) - _SHOWN_VALUES} more" if len(others) > _SHOWN_VALUES else ""
        expected = ", ".join(f"{value} ({name})" for name, value in self.values.items())
        expected += "".join(f", {value} (ignored)" for value in self.ignored)
        drift = (
            ". Values that drift around those of the classes, as in JPEG, need target.mask_tolerance" if more else ""
        )
        return UnfitError(
            "values", f"mask has the values {shown}{more}; expected only {expected}{_hint(others) or drift}"
        )


class _OneClass(ClassMap):
    """Of a mask of one class alone."""

    def __init__(self, every: ClassMap, name: str) -> None:
        super().__init__(every.values, every.ignored, every.tolerance)
        self._index = list(every.values).index(name)

    def __call__(self, pixels_hw: NDArray[Any]) -> Mask:
        """Return the index of the class where a pixel is not 0."""
        ignored = np.isin(pixels_hw, self.ignored)
        found = pixels_hw > self.tolerance
        values = np.unique(pixels_hw[found & ~ignored])
        if (pixels_hw < 0).any() or (len(values) > 1 and not self.tolerance):
            shown = ", ".join(map(_shown, values[:_SHOWN_VALUES]))
            raise UnfitError("values", f"the mask of one class has the values {shown}; expected 0 and one other")
        classes = found * np.uint8(self._index)
        classes[ignored] = IGNORED
        return classes

    def knows(self, pixels_hw: NDArray[Any]) -> bool:
        """Whether there is one value beside 0."""
        return len(np.unique(pixels_hw[pixels_hw != 0])) <= 1


def _hint(others: Sequence[np.generic]) -> str:
    """Name the recipe's key where every value of no class is one that tools give to pixels without a truth."""
    values = [value.item() for value in others]
    if not all(value >= _HINTED_FROM and value == int(value) for value in values):
        return ""
    ignored = ", ".join(f"{value:g}" for value in values)
    shown = ignored if len(values) == 1 else f"[{ignored}]"
    return f". If these pixels are to count nowhere, add target.ignore: {shown} to the recipe"


def _shown(value: np.generic) -> str:
    """Return a value so that it differs from every other of its type; whole numbers without a point."""
    number = value.item()
    short = f"{number:g}"
    return short if float(short) == number else str(value)


def mask_classes(image: Image, classes: ClassMap) -> Mask:
    """Turn a decoded mask into class indices.

    Args:
        image: The mask. One saved as colour is accepted if its colour channels agree; of a palette of colours, the
            indices are the values. Those of a palette of greys may be meant, too, where its greys are no classes.
        classes: The pixel value of each class.

    Returns:
        ``(H, W)`` uint8 class indices, 0 for the background.

    Raises:
        UnfitError: If it has another value, real colours, or a transparency that says more than its values.
    """
    if classes.colours:
        return classes.of_colours(_without_alpha(image.pixels))
    plane = value_plane(image)
    if image.indices is None or np.array_equal(plane, image.indices[..., 0]):
        return classes(plane)
    found = [classes(values) for values in (plane, image.indices[..., 0]) if classes.knows(values)]
    if len(found) == 2 and not np.array_equal(found[0], found[1]):
        raise UnfitError("values", "both the greys of the mask's palette and their indices are values of classes")
    return found[0] if found else classes(plane)


def value_plane(image: Image) -> NDArray[Any]:
    """Return the pixel values ``(H, W)`` of a decoded mask; see ``mask_classes``."""
    pixels, channels = image.pixels, image.pixels.shape[2]
    coloured = pixels[..., : channels - 1] if channels in _WITH_ALPHA else pixels
    plane: NDArray[Any] = pixels[..., 0]
    if (coloured[..., 1:] == plane[..., None]).all():
        if channels in _WITH_ALPHA:
            _check_alpha(pixels[..., -1], plane)
        return plane
    if image.indices is None:
        raise UnfitError(
            "values",
            f"mask has {channels} channels that differ; expected one of class values, or the colours of the classes in "
            "target.mask_colours",
        )
    return image.indices[..., 0]


def _without_alpha(pixels: NDArray[Any]) -> NDArray[Any]:
    """The colours of a picture without transparent pixels."""
    if pixels.shape[2] not in _WITH_ALPHA:
        return pixels
    if (pixels[..., -1] != _opaque(pixels)).any():
        raise UnfitError("values", "mask is transparent in places; save it without transparency")
    return pixels[..., :-1]


def _opaque(alpha: NDArray[Any]) -> int:
    """What an opaque pixel has."""
    return 1 if alpha.dtype.kind == "f" else int(np.iinfo(alpha.dtype).max)


def _check_alpha(alpha: NDArray[Any], plane: NDArray[Any]) -> None:
    """Refuse a transparency that says more than the values do: pixels of one value, of which only some are opaque."""
    clear = alpha != _opaque(alpha)
    if clear.any() and (np.ptp(plane[clear]) or (plane[~clear] == plane[clear][0]).any()):
        raise UnfitError(
            "values", f"mask is transparent in {int(clear.sum())} pixels that its values do not tell from the others; "
            "save it without transparency"
        )  # fmt: skip


def joined_classes(masks: Sequence[Mask], classes: ClassMap) -> Mask:
    """Join the masks of one image: a pixel has the class that one of them says, the background where none does.

    Args:
        masks: ``(H, W)`` uint8 class indices each, at least one.
        classes: Names the classes.

    Raises:
        UnfitError: If two of them differ in size, or say different classes of a pixel.
    """
    first, *others = masks
    joined = first
    for mask in others:
        if mask.shape != joined.shape:
            raise UnfitError("size", f"its masks differ in size: {size_text(joined)} and {size_text(mask)}")
        both = (joined != 0) & (mask != 0) & (joined != mask)
        if both.any():
            pixel = tuple(np.argwhere(both)[0])
            said = f"{classes.named(int(joined[pixel]))} in one of its masks and {classes.named(int(mask[pixel]))}"
            raise UnfitError("values", f"{counted(int(both.sum()), 'pixel')}: {said} in another; expected one class")
        joined = np.maximum(joined, mask)
    return joined


def check_some_known(mask: Mask) -> None:
    """Raise ``UnfitError`` if every pixel of a mask of class indices counts nowhere."""
    if (mask == IGNORED).all():
        raise UnfitError(
            "ignored",
            "every pixel of the mask, or every one that is left at the network's size, has a value of target.ignore",
        )


def check_same_size(image: NDArray[Any], mask: Mask) -> None:
    """Raise ``UnfitError`` if an image and its mask differ in height or width."""
    if image.shape[:2] != mask.shape:
        raise UnfitError("size", f"image is {size_text(image)}, its mask {size_text(mask)}")


def explain(error: Exception, file: str) -> tuple[str, str]:
    """Say what is wrong with a file, without naming it.

    Args:
        error: One of ``FILE_ERRORS``.
        file: The file's name, to be taken out of the message.

    Returns:
        Kind of problem and its description.
    """
    if isinstance(error, UnfitError):
        return error.kind, str(error)
    if isinstance(error, OSError):
        # An operating system's error repeats the whole path; its reason is enough.
        return "unreadable", error.strerror or "cannot be read"
    return "unreadable", str(error).removeprefix(f"{file}: ")


def check_quarantine(problems: Sequence[str], bad: int, total: int, policy: str, limit: float) -> None:
    """Apply the recipe's policy to what was found.

    Args:
        problems: One line for each problem, naming the file.
        bad: Samples that have a problem.
        total: Samples in all, the bad ones included.
        policy: ``fail`` or ``quarantine``.
        limit: Largest share of samples that ``quarantine`` may set aside.

    Raises:
        DataError: With every problem, if the policy does not let them pass.
    """
    if bad == 0:
        return
    if policy == "fail":
        raise DataError(
            f"{bad} of {counted(total, 'sample')} cannot be used. Mend or remove these files, or set them aside with "
            f"--set data.policy=quarantine",
            problems,
        )
    if bad > limit * total:
        raise DataError(
            f"{bad} of {counted(total, 'sample')} cannot be used, more than data.quarantine_limit="
            f"{limit:g} allows. Mend these files, or raise the limit",
            problems,
        )


def named(work: Callable[[], T], file: str) -> T:
    """Do something with a file; whatever is wrong with the file is said with its name.

    Raises:
        DataError: For one of ``FILE_ERRORS``.
    """
    try:
        return work()
    except FILE_ERRORS as error:
        raise DataError(f"{file}: {explain(error, file)[1]}") from error


def size_text(pixels: NDArray[Any]) -> str:
    """Return height and width in words."""
    return f"{pixels.shape[0]}x{pixels.shape[1]}"
