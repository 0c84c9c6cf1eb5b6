"""What passes between a fence and its workers arrives whole."""

import dataclasses
import json

import numpy as np
import pytest

from medloom.imaging.fence.wire import image_header, image_of, volume_header, volume_of
from medloom.imaging.types import Image, Reduction, Volume

AFFINE = np.diag([0.1, 0.3, 5.0, 1.0]) + 1 / 3 * np.eye(4, k=1)


def same(one, other):
    for field in dataclasses.fields(one):
        np.testing.assert_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"affine": AFFINE, "slices": 7},
        {"directions": ("L", "I"), "window": (40.0, 400.0), "spacing_mm": (0.1, 0.2), "notes": ("a", "b")},
        {"reduction": Reduction(8, 6, (0.0, 0.0, 3.0, 2.5))},
    ],
)
def test_everything_about_an_image_arrives(more):
    image = Image(np.zeros((4, 3, 1), np.uint8), "dicom", **more)
    same(image_of(json.loads(json.dumps(image_header(image))), image.pixels), image)


@pytest.mark.parametrize("oriented", [True, False])
def test_everything_about_a_volume_arrives(oriented):
    volume = Volume(np.zeros((2, 4, 3), np.int16), (5.0, 0.3, 0.1), AFFINE, "nifti", ("note",), (0.3, 0.1), oriented)
    same(volume_of(json.loads(json.dumps(volume_header(volume))), volume.voxels), volume)
