import itertools

import nibabel
import numpy as np
import pytest

from medloom.imaging.geometry import Grid
from medloom.imaging.grids import brought_to

OBLIQUE = nibabel.affines.from_matvec(
    np.array([[-0.6, 0.2, 0.5], [0.1, 0.7, -1.0], [0.3, 0.3, 2.0]]), [12.5, -80.0, 33.0]
)
ORIENTATIONS = [
    np.column_stack([order, signs])
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def _stored(orientation, shape=(4, 5, 6), affine=OBLIQUE):
    """A volume and the same stored in another way by nibabel, both as (D, H, W) with their affines."""
    voxels = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)
    image = nibabel.Nifti1Image(voxels, affine)
    turned = image.as_reoriented(orientation)
    return voxels.T, image.affine, np.asarray(turned.dataobj).T, turned.affine


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("shape", [(4, 5, 6), (5, 5, 5), (4, 5, 1)])
def test_every_way_to_store_a_volume_is_brought_back_exactly(orientation, shape):
    voxels, affine, turned, other = _stored(orientation, shape)
    first, second = Grid(affine, voxels.shape[::-1]), Grid(other, turned.shape[::-1])
    np.testing.assert_array_equal(brought_to(turned, second, first), voxels)
    np.testing.assert_array_equal(brought_to(voxels, first, second), turned)


def _moved(mm=(0, 0, 0), scale=1.0, turn=0.0):
    affine = OBLIQUE.copy()
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine[:3, :3] = rotation @ affine[:3, :3] * scale
    affine[:3, 3] += mm
    return affine


@pytest.mark.parametrize(
    ("affine", "shape"),
    [
        (_moved(mm=(0, 0, 1)), (6, 5, 4)),
        (_moved(scale=2.0), (6, 5, 4)),
        (_moved(scale=1.05), (6, 5, 4)),
        (_moved(turn=0.1), (6, 5, 4)),
        (_moved(turn=np.pi / 4), (6, 5, 4)),
        (OBLIQUE, (6, 5, 3)),
        (OBLIQUE, (6, 4, 5)),
    ],
)
def test_another_grid_is_none(affine, shape):
    assert brought_to(np.zeros((6, 5, 4)), Grid(OBLIQUE, (4, 5, 6)), Grid(affine, shape[::-1])) is None


def test_affines_that_differ_by_their_rounding_are_the_same_grid():
    voxels = np.arange(120).reshape(6, 5, 4)
    rounded = OBLIQUE.astype(np.float32).astype(np.float64) + 1e-4
    np.testing.assert_array_equal(brought_to(voxels, Grid(OBLIQUE, (4, 5, 6)), Grid(rounded, (4, 5, 6))), voxels)
