"""Volumes stored in every orientation that there is; nibabel says which voxel goes where."""

import itertools

import nibabel
import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

ALL = tuple(
    "".join(codes) for order in itertools.permutations(("LR", "PA", "IS")) for codes in itertools.product(*order)
)
"""The 48 orientations by their codes, such as ``RAS``."""


def stored(voxels_ijk, affine, codes):
    """Return the same volume (i, j, k) in another orientation, with its affine."""
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(codes)))
    return apply_orientation(voxels_ijk, turn), affine @ inv_ornt_aff(turn, voxels_ijk.shape)


def nifti(voxels_ijk, affine):
    """Return the bytes of a NIfTI file."""
    return nibabel.Nifti1Image(voxels_ijk, affine).to_bytes()


def rotated(degrees):
    """Return a rotation (4, 4) about all three axes."""
    turn = np.eye(4)
    for axis, angle in enumerate(np.radians(degrees)):
        one, (a, b) = np.eye(4), [other for other in range(3) if other != axis]
        one[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = turn @ one
    return turn
