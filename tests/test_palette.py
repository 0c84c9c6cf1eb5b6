"""The colours are told apart by people with each of the common colour-vision deficiencies.

Simulated as by Machado, Oliveira and Fernandes (IEEE TVCG 2009, complete deficiency), compared as CIELAB distances.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from medloom.palette import BOTH, PALETTE, PREDICTED, TRUTH

VISIONS = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = TO_XYZ.sum(axis=1)
OUTLINES = ["#" + bytes(colour).hex() for colour in (TRUTH, PREDICTED, BOTH)]


def seen(colour, vision):
    """CIELAB of a colour as somebody sees it."""
    srgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(VISIONS[vision]) @ linear, 0, 1) / WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours, vision):
    """The smallest distance between two of the colours."""
    return min(np.linalg.norm(seen(a, vision) - seen(b, vision)) for a, b in itertools.combinations(colours, 2))


@pytest.mark.parametrize("vision", VISIONS)
def test_no_two_colours_look_alike(vision):
    assert nearest(PALETTE[:4], vision) > 15  # what most charts use
    assert nearest(PALETTE, vision) > 8
    assert nearest(OUTLINES, vision) > 15


def test_colours_that_differ_for_most_people_do_for_some():
    others = ["#2f6fb3", "#d9822b", "#3a9b6d", "#b5485d", "#7b61a8", "#6b7785"]
    assert nearest(others, "full") > 20
    assert nearest(others, "protanopia") < 8
