"""What passes between a fence and its workers arrives whole."""

import dataclasses
import json

import numpy as np
import pytest

from medloom.imaging.fence.wire import image_header, image_of, volume_header, volume_of
from medloom.imaging.types import DisplayTable, Image, Reduction, Volume

AFFINE = np.diag([0.1, 0.3, 5.0, 1.0]) + 1 / 3 * np.eye(4, k=1)


TABLE = DisplayTable(3.0, np.float32([0, 0.5, 1]))


def same(one, other):
    for field in dataclasses.fields(one):
        found, expected = (plain(getattr(item, field.name)) for item in (one, other))
        np.testing.assert_equal(found, expected, err_msg=field.name)


def plain(value):
    """Tables of numbers as what they hold: they are equal only to themselves."""
    if isinstance(value, DisplayTable):
        return dataclasses.asdict(value)
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"affine": AFFINE, "slices": 7},
        {"directions": ("L", "I"), "window": (40.0, 400.0), "spacing_mm": (0.1, 0.2), "notes": ("a", "b")},
        {"value_range": (-1024.0, 3071.0), "table": TABLE},
        {"reduction": Reduction(8, 6, (0.0, 0.0, 3.0, 2.5))},
    ],
)
def test_everything_about_an_image_arrives(more):
    image = Image(np.zeros((4, 3, 1), np.uint8), "dicom", **more)
    same(image_of(json.loads(json.dumps(image_header(image))), image.pixels), image)


@pytest.mark.parametrize("oriented", [True, False])
def test_everything_about_a_volume_arrives(oriented):
    volume = Volume(np.zeros((2, 4, 3), np.int16), (5.0, 0.3, 0.1), AFFINE, "nifti", ("note",), (0.3, 0.1), oriented)
    said = {"windows": ((40.0, 400.0), None), "tables": (None, TABLE), "value_ranges": ((0.0, 4095.0), None)}
    volume = dataclasses.replace(volume, **said)
    same(volume_of(json.loads(json.dumps(volume_header(volume))), volume.voxels), volume)
