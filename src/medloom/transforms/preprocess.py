"""Deterministic steps from decoded pixels to the network's input, and back.

The one place where they are written: ``prepare`` fills the pixel store with ``resize_image`` and
``normalisation``, training applies ``(x - offset) * scale`` on the device, evaluation and serving call
the object itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from medloom.errors import InputError
from medloom.imaging import Image, Window, apply_window
from medloom.recipe.kinds.labels import LabelsPreprocess
from medloom.recipe.sections.images import PreprocessConfig
from medloom.transforms.normalise import Normalise
from medloom.wording import counted

__all__ = ["Preprocess", "centre_crop", "middle"]

Array = NDArray[Any]
Floats32 = NDArray[np.float32]

_ROUNDING = "half to even"
_ZSCORE = Normalise()
_KEPT = ("uint8", "uint16")
"""Types that resizing does not widen."""

_LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue, ITU-R BT.601."""


@dataclass(frozen=True)
class Preprocess:
    """Resizes and normalises one image at a time.

    Args:
        size: Height and width in pixels that an image is resized to.
        fit: ``stretch`` changes the aspect ratio, ``pad`` keeps it and fills with zeros.
        window: Centre and width to cut values to, ``file`` or ``auto`` for what each file says, or None; as of
            `medloom.imaging.apply_window`.
        colour: ``as-is``, or bring every image to one channel (``grey``) or to three (``rgb``).
        crop: Height and width of the middle part that the network sees; None for all.
        normalise: Intensity normalisation.
        spacing: Millimetres between rows and columns that an image is resampled to before it is padded; None: it is
            fitted to ``size``.

    Example:
        >>> Preprocess(size=(64, 64))(np.zeros((128, 96, 3), np.uint8)).shape
        (3, 64, 64)
    """

    size: tuple[int, int] = (256, 256)
    fit: Literal["stretch", "pad"] = "stretch"
    window: Window = None
    colour: Literal["as-is", "grey", "rgb"] = "as-is"
    crop: tuple[int, int] | None = None
    normalise: Normalise = _ZSCORE
    spacing: tuple[float, float] | None = None

    @classmethod
    def of(cls, section: PreprocessConfig) -> Self:
        """Take what a recipe's ``preprocess`` says."""
        values = section.model_dump()
        return cls(**{**values, "normalise": Normalise(**values["normalise"])})

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Take back what ``plain`` returned.

        Raises:
            ValueError: If a key or a value is not what a recipe may say.
        """
        return cls.of(LabelsPreprocess.model_validate(dict(plain)))

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        values = asdict(self)
        values["normalise"] = _lists(values["normalise"])
        return _lists(values)

    @staticmethod
    def constants() -> dict[str, Any]:
        """Return what these steps do that no recipe says, as plain JSON types; ``docs/bundle.md`` explains it."""
        return {
            "window": {"function": "DICOM PS3.3 C.11.2.1.2.1", "dtype": "float64"},
            "colour": {"alpha": "dropped", "luma": _LUMA.tolist(), "dtype": "float64", "rounding": _ROUNDING},
            "resize": {
                "filter": "bilinear",
                "antialias": True,
                "dtype": "float32",
                "rounding": _ROUNDING,
                "rounded": list(_KEPT),
                "padding": 0.0,
            },
            "normalise": Normalise.constants(),
            "restore": {"filter": "bilinear", "antialias": True, "dtype": "float32", "clip": [0.0, 1.0]},
        }

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels of what the network sees."""
        return self.crop or self.size

    @property
    def at_least(self) -> tuple[int, int] | None:
        """Height and width that `medloom.imaging.decode` may reduce an image to where nothing is restored from it.

        None where values are cut to a window: that comes before any averaging. JPEGs are of 8 bits, to which `auto`
        does nothing.
        """
        return self.size if self.window in (None, "auto") else None

    def __call__(self, image_hwc: Array | Image) -> Floats32:
        """Return what the network sees.

        Args:
            image_hwc: ``(H, W, C)``, any integer or float dtype, as ``to_input`` returns it; an image that was decoded
                at a fraction of its size comes as an image, which knows its size.

        Returns:
            ``(C, h, w)`` float32, always finite.
        """
        image = self.resize_image(image_hwc)
        offset, scale = self.normalisation(image)
        normalised: Floats32 = (image.astype(np.float32) - offset[:, None, None]) * scale[:, None, None]
        return centre_crop(normalised, self.crop)

    def to_input(self, image: Image, channels: Sequence[str], wanted_by: str = "this model takes") -> Image:
        """Apply the window and the conversion of colours, and check the channels: the first step, once.

        Args:
            image: As decoded.
            channels: Names of the channels that it must then have.
            wanted_by: Who wants them, for the message.

        Returns:
            The image with these channels.

        Raises:
            InputError: If a file that should say its window does not, the colours cannot be converted, or the channels
                are others.
        """
        if image.pixels.ndim == 3:
            shown = apply_window(image, self.window)
            image = replace(shown, pixels=self.to_colour(shown.pixels))
        if image.pixels.ndim != 3 or image.pixels.shape[2] != len(channels):
            wanted = f"{len(channels)}: {', '.join(channels)}"
            raise InputError(f"the image has {_channels_of(image.pixels)}; {wanted_by} {wanted}")
        return image

    def to_colour(self, pixels_hwc: Array) -> Array:
        """Bring an image to the number of channels that the recipe's ``colour`` says.

        An alpha channel is dropped; grey is repeated, or colours become luma (ITU-R BT.601).

        Args:
            pixels_hwc: ``(H, W, C)``.

        Returns:
            ``(H, W, C')`` in the same dtype: as it is, or C' = 1 or 3.

        Raises:
            InputError: If it has neither one nor three channels beside alpha.
        """
        if self.colour == "as-is":
            return pixels_hwc
        channels = pixels_hwc.shape[2]
        colours = pixels_hwc[..., : channels - 1] if channels in (2, 4) else pixels_hwc
        if colours.shape[2] not in (1, 3):
            raise InputError(f"the image has {channels} channels; expected grey or RGB, with or without alpha")
        if self.colour == "rgb":
            return np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours
        return colours if colours.shape[2] == 1 else _to_dtype(_luma(colours)[..., None], pixels_hwc.dtype)

    def resize_image(self, image_hwc: Array | Image) -> Array:
        """Resize to the network's size without widening the dtype.

        Args:
            image_hwc: ``(H, W, C)``, or an image with such pixels.

        Returns:
            ``(C, h, w)``; uint8 and uint16 stay as they are, everything else becomes float32.
        """
        given = image_hwc if isinstance(image_hwc, Image) else Image(image_hwc, "array")
        pixels_hwc, reduction = given.pixels, given.reduction
        dtype = pixels_hwc.dtype if pixels_hwc.dtype.name in _KEPT else np.dtype(np.float32)
        planes = np.moveaxis(pixels_hwc, -1, 0)
        top, left, height, width = self.place(given.size, given.spacing_mm)
        if planes.shape[1:] == (height, width) == self.size and reduction is None:
            return np.ascontiguousarray(planes, dtype=dtype)
        resized = np.zeros((planes.shape[0], *self.size), np.float32)
        box = None if reduction is None else reduction.box
        for plane, out in zip(planes, resized, strict=True):
            out[top : top + height, left : left + width] = _resize_plane(plane, height, width, box)
        return _to_dtype(resized, dtype)

    def resize_mask(
        self, mask_hw: NDArray[np.uint8], spacing_mm: tuple[float, float] | None = None
    ) -> NDArray[np.uint8]:
        """Resize a mask of class indices by nearest neighbour.

        Args:
            mask_hw: ``(H, W)`` uint8.
            spacing_mm: Row and column spacing of its image.

        Returns:
            ``(h, w)`` uint8.
        """
        rows, columns = mask_hw.shape
        top, left, height, width = self.place((rows, columns), spacing_mm)
        if (rows, columns) == (height, width) == self.size:
            return np.ascontiguousarray(mask_hw)
        out = np.zeros(self.size, np.uint8)
        image = PillowImage.fromarray(np.ascontiguousarray(mask_hw))
        out[top : top + height, left : left + width] = np.asarray(
            image.resize((width, height), PillowImage.Resampling.NEAREST)
        )
        return out

    def normalisation(self, image_chw: Array) -> tuple[Floats32, Floats32]:
        """Return the two numbers of each channel that normalise this image; see `Normalise.of`.

        Args:
            image_chw: ``(C, h, w)``, as ``resize_image`` returns it.

        Returns:
            ``offset`` and ``scale``, each ``(C,)`` float32: ``normalised = (image - offset) * scale``.
        """
        return self.normalise.of(image_chw)

    def restore(
        self, probabilities_khw: Floats32, height: int, width: int, spacing_mm: tuple[float, float] | None = None
    ) -> Floats32:
        """Bring the network's output back to the geometry of the image that came in.

        Args:
            probabilities_khw: ``(K, h, w)`` float32 in 0..1.
            height: Of the original image, in pixels.
            width: Of the original image, in pixels.
            spacing_mm: Row and column spacing of the original image.

        Returns:
            ``(K, height, width)`` float32 in 0..1.
        """
        top, left, inner_height, inner_width = self.place((height, width), spacing_mm)
        if (height, width) == (inner_height, inner_width) == self.size:
            return probabilities_khw
        inner = probabilities_khw[:, top : top + inner_height, left : left + inner_width]
        restored = np.stack([_resize_plane(plane, height, width) for plane in inner])
        clipped: Floats32 = np.clip(restored, 0.0, 1.0)
        return clipped

    def place(self, size: tuple[int, int], spacing_mm: tuple[float, float] | None = None) -> tuple[int, int, int, int]:
        """Return where the resized image lies in the network's image: top, left, height, width.

        Args:
            size: Height and width of the image in pixels.
            spacing_mm: Its row and column spacing.

        Raises:
            InputError: If it is to have a spacing and does not fit then, or does not say its own.
        """
        height, width = size
        full_height, full_width = self.size
        if self.fit == "stretch":
            return 0, 0, full_height, full_width
        if self.spacing is None:
            ratio = min(full_height / height, full_width / width)
            inner_height = min(full_height, max(1, round(height * ratio)))
            inner_width = min(full_width, max(1, round(width * ratio)))
        else:
            inner_height, inner_width = self._at_spacing(size, spacing_mm, self.spacing)
        return (full_height - inner_height) // 2, (full_width - inner_width) // 2, inner_height, inner_width

    def _at_spacing(
        self, size: tuple[int, int], spacing_mm: tuple[float, float] | None, target: tuple[float, float]
    ) -> tuple[int, int]:
        """Rows and columns of an image once it is resampled."""
        if spacing_mm is None:
            wanted = f"{target[0]:g}x{target[1]:g} mm (preprocess.spacing)"
            raise InputError(f"the image does not say how large its pixels are; they are to become {wanted}")
        height, width = (max(1, round(side * mm / to)) for side, mm, to in zip(size, spacing_mm, target, strict=True))
        if height > self.size[0] or width > self.size[1]:
            raise InputError(
                f"the image of {size[0]}x{size[1]} pixels of {spacing_mm[0]:.4g}x{spacing_mm[1]:.4g} mm takes "
                f"{height}x{width} of {target[0]:g}x{target[1]:g} mm (preprocess.spacing), and the network sees "
                f"{self.size[0]}x{self.size[1]} (preprocess.size)"
            )
        return height, width


def _resize_plane(
    plane: Array, height: int, width: int, box: tuple[float, float, float, float] | None = None
) -> Floats32:
    """Bilinear, with an antialiasing filter when it shrinks (Pillow's convolution); of a part, if ``box`` says so."""
    if plane.dtype == np.uint8:  # Pillow widens bytes in one pass, without a copy before
        image = PillowImage.fromarray(np.ascontiguousarray(plane)).convert("F")
    else:
        image = PillowImage.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize((width, height), PillowImage.Resampling.BILINEAR, box), np.float32)


def centre_crop(images: Array, size: tuple[int, int] | None) -> Array:
    """Return the middle of the last two axes; everything if ``size`` is None."""
    if size is None:
        return images
    return images[..., middle(images.shape[-2], size[0]), middle(images.shape[-1], size[1])]


def middle(whole: int, part: int) -> slice:
    """Return where the middle ``part`` of ``whole`` pixels lies; of two middles the first, in training and after."""
    first = (whole - part) // 2
    return slice(first, first + part)


def _luma(colours: Array) -> Array:
    """In float64, from left to right: a matrix product would leave the order to the processor's library."""
    luma: Array = colours[..., 0] * _LUMA[0] + colours[..., 1] * _LUMA[1] + colours[..., 2] * _LUMA[2]
    return luma


def _lists(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _channels_of(pixels: Array) -> str:
    return f"{pixels.ndim} dimensions" if pixels.ndim != 3 else counted(pixels.shape[2], "channel")


def _to_dtype(values: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    rounded = np.rint(values)
    return np.clip(rounded, limits.min, limits.max, out=rounded).astype(dtype)
