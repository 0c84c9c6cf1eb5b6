"""Channels, pages, size, window and normalisation, from what the pixels are."""

from __future__ import annotations

from collections.abc import Iterator

from medloom.data.survey.findings import Finding
from medloom.data.survey.settings.known import Known
from medloom.data.survey.settings.pixels import Pixels

__all__ = ["Pixels", "image_findings"]

_LONG = 1.15
"""Images that are longer by more keep their shape."""

_SIDES = {"gpu": 256, "cpu": 128}
_LABEL_SIDE, _LABEL_CROP = 256, 224
_SOFT_TISSUE = [40, 400]
_OTHER_WINDOWS = "soft tissue; lung is [-600, 1500], brain [40, 80], bone [400, 1800]"


def image_findings(known: Known) -> Iterator[Finding]:
    """Yield the keys that say what a network sees of an image."""
    yield from _channels(known)
    if known.pixels.most_pages > 1:
        yield Finding(
            "data.page",
            "all",
            f"the files that were looked into have up to {known.pixels.most_pages} pages or slices: each is a sample",
            instead="one page of each file: data.page=0",
        )
    yield from _sizes(known)
    yield from _values(known)


def _channels(known: Known) -> Iterator[Finding]:
    pixels = known.pixels
    if known.truth_is_mask and "data.channels" in known.trial.reading.values:
        return
    if not pixels.pictures:
        names = [f"channel-{number}" for number in range(1, pixels.channels + 1)]
        yield Finding("data.channels", names, f"files of {pixels.channels} channels", check="what are they?")
        return
    said = f"{pixels.coloured} of {pixels.count} images looked into are in colour"
    if pixels.coloured or not known.truth_is_mask:
        why = said if known.truth_is_mask else f"{said}; backbones take three channels, grey is repeated"
        yield Finding("data.channels", ["red", "green", "blue"], why)
        yield Finding("preprocess.colour", "rgb", "brings grey pictures and those with transparency to three channels")
        return
    yield Finding("data.channels", ["grey"], said)
    if any(look.channels > 1 for look in pixels.looks):
        yield Finding("preprocess.colour", "grey", "pictures are grey, some of them saved in colour")


def _sizes(known: Known) -> Iterator[Finding]:
    pixels, device = known.pixels, known.device
    if known.truth_is_mask:
        side = min(_SIDES["gpu" if device.has_gpu else "cpu"], _multiple(pixels.side))
        yield Finding(
            "preprocess.size",
            [side, side],
            f"{pixels.size_text}; {device.text}",
            instead="" if device.has_gpu else "[256, 256], four times as slow and better for small lesions",
        )
    elif pixels.side >= _LABEL_CROP:
        yield Finding("preprocess.size", [_LABEL_SIDE, _LABEL_SIDE], pixels.size_text)
        yield Finding("preprocess.crop", [_LABEL_CROP, _LABEL_CROP], "the size that most backbones were made for")
    else:
        side = _multiple(pixels.side)
        yield Finding("preprocess.size", [side, side], pixels.size_text)
    if pixels.elongation > _LONG:
        yield Finding(
            "preprocess.fit",
            "pad",
            f"up to {pixels.elongation:.2g} times as long as wide or wide as long: kept in shape",
            instead="stretch, which fills the whole input and changes the shape of what is seen",
        )


def _multiple(side: int) -> int:
    return max(32, side // 32 * 32)


def _values(known: Known) -> Iterator[Finding]:
    pixels = known.pixels
    values, scale = pixels.range_text, pixels.scale
    method = "preprocess.normalise.method"
    if scale == "ct":
        yield Finding(
            "preprocess.window",
            _SOFT_TISSUE,
            f"{values}: Hounsfield units of CT",
            check=f"the window, which is for {_OTHER_WINDOWS}",
        )
    if scale == "eight-bit" and known.truth_is_mask and not pixels.coloured:
        yield Finding(method, "zscore", f"{values}, grey: each image by itself")
    elif scale == "eight-bit" and known.truth_is_mask and "data.channels" in known.trial.reading.values:
        yield Finding(method, "zscore", f"{values}, a sequence in each channel: each by itself")
        yield Finding("preprocess.normalise.min_spread", 5, "keeps the noise of nearly blank slices small")
    elif scale in ("eight-bit", "dicom") and (not known.truth_is_mask or pixels.coloured):
        yield Finding(method, "imagenet", f"{values}: as pretrained networks expect")
    elif scale == "mr":
        yield Finding(method, "zscore", f"{values}: MRI has no unit; over the head or body alone, which is above 0")
    else:
        yield Finding(method, "percentile" if scale != "ct" else "zscore", values)
        yield Finding("preprocess.normalise.nonzero", False, "0 is a value like any other here")
