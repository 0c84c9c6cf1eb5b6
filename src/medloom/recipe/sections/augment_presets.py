"""Augmentation that suits a kind of image: keys of the section ``augment`` that a recipe need not say itself.

Magnitudes follow nnU-Net (Isensee et al. 2021) for MRI and CT and the usual colour jitter for photographs, halved
where an image has one: they are places to begin from, measured on no data set.
"""

from __future__ import annotations

from typing import Any

__all__ = ["AUGMENT_PRESETS"]

Steps = dict[str, dict[str, Any]]

_NONE: Steps = {
    "flip": {"p": 0.0},
    "rotate": {"p": 0.0},
    "crop": {"p": 0.0},
    "scale": {"p": 0.0},
    "shift": {"p": 0.0},
    "noise": {"p": 0.0},
}
_FROM_ALL_SIDES: Steps = {
    "flip": {"p": 0.5, "vertical": 0.5},
    "turn": {"p": 0.75},
    "rotate": {"p": 0.5, "degrees": 20.0},
}

AUGMENT_PRESETS: dict[str, Steps] = {
    "none": _NONE,
    "light": {
        **_NONE,
        "flip": {"p": 0.5},
        "rotate": {"p": 0.5, "degrees": 10.0},
        "crop": {"p": 0.3, "min_scale": 0.9},
        "scale": {"p": 0.2, "amount": 0.1},
        "shift": {"p": 0.2, "amount": 0.1},
    },
    "mri": {
        "flip": {"p": 0.5},
        "rotate": {"p": 0.5, "degrees": 15.0},
        "crop": {"p": 0.5, "min_scale": 0.8},
        "elastic": {"p": 0.2, "amount": 0.02, "spacing": 0.2},
        "bias_field": {"p": 0.2, "amount": 0.3},
        "gamma": {"p": 0.3, "amount": 0.4},
        "blur": {"p": 0.1, "sigma": 1.0},
        "low_resolution": {"p": 0.1, "zoom": 0.5},
        "scale": {"p": 0.3, "amount": 0.2},
        "shift": {"p": 0.3, "amount": 0.2},
        "noise": {"p": 0.15, "std": 0.1},
    },
    "ct": {  # HU mean the same everywhere, so intensities change little
        "flip": {"p": 0.5},
        "rotate": {"p": 0.5, "degrees": 15.0},
        "crop": {"p": 0.5, "min_scale": 0.8},
        "elastic": {"p": 0.2, "amount": 0.02, "spacing": 0.2},
        "gamma": {"p": 0.15, "amount": 0.2},
        "blur": {"p": 0.1, "sigma": 1.0},
        "low_resolution": {"p": 0.1, "zoom": 0.5},
        "scale": {"p": 0.15, "amount": 0.1},
        "shift": {"p": 0.15, "amount": 0.1},
        "noise": {"p": 0.2, "std": 0.1},
    },
    "xray": {
        **_NONE,
        "rotate": {"p": 0.5, "degrees": 10.0},
        "crop": {"p": 0.5, "min_scale": 0.85},
        "gamma": {"p": 0.3, "amount": 0.3},
        "contrast": {"p": 0.3, "amount": 0.2},
        "brightness": {"p": 0.3, "amount": 0.1},
        "blur": {"p": 0.1, "sigma": 1.0},
        "low_resolution": {"p": 0.1, "zoom": 0.5},
        "noise": {"p": 0.15, "std": 0.05},
    },
    "photo": {
        **_NONE,
        **_FROM_ALL_SIDES,
        "crop": {"p": 0.5, "min_scale": 0.75},
        "contrast": {"p": 0.5, "amount": 0.2},
        "brightness": {"p": 0.5, "amount": 0.1},
        "colour": {"p": 0.5, "hue": 0.03, "saturation": 0.3},
        "blur": {"p": 0.1, "sigma": 1.0},
        "cutout": {"p": 0.2, "size": 0.3, "holes": 1},
        "noise": {"p": 0.1, "std": 0.05},
    },
    "ultrasound": {
        **_NONE,
        "flip": {"p": 0.5},
        "rotate": {"p": 0.3, "degrees": 10.0},
        "crop": {"p": 0.5, "min_scale": 0.8},
        "gamma": {"p": 0.3, "amount": 0.3},
        "contrast": {"p": 0.3, "amount": 0.2},
        "brightness": {"p": 0.3, "amount": 0.1},
        "blur": {"p": 0.2, "sigma": 1.0},
        "low_resolution": {"p": 0.15, "zoom": 0.5},
        "noise": {"p": 0.2, "std": 0.1},
    },
    "microscopy": {
        **_NONE,
        **_FROM_ALL_SIDES,
        "crop": {"p": 0.5, "min_scale": 0.8},
        "elastic": {"p": 0.2, "amount": 0.02, "spacing": 0.2},
        "contrast": {"p": 0.3, "amount": 0.2},
        "brightness": {"p": 0.3, "amount": 0.1},
        "colour": {"p": 0.5, "hue": 0.05, "saturation": 0.3},
        "blur": {"p": 0.2, "sigma": 1.5},
        "noise": {"p": 0.15, "std": 0.05},
    },
}
"""By the value of ``augment.preset``; ``colour`` is left out for images that have none."""
