"""Inspection: what files are, and never whose."""

import gzip

import numpy as np
import pytest

from medloom.errors import DataError
from medloom.imaging import encode_png, inspect
from medloom.imaging.inspection import inspect_data, inspect_many
from medloom.imaging.nifti import write_nifti


def test_a_file_is_described_as_it_decodes(corpus):
    for name, data in corpus.items():
        facts, header = inspect_data(data), inspect(data)
        assert (facts.format, facts.height, facts.width, facts.channels, facts.dtype, facts.pages) == (
            name.partition("-")[0], header.height, header.width, header.channels, header.dtype, 1,
        )  # fmt: skip
        assert facts.refused == ""
        assert facts.minimum is not None
        assert facts.minimum <= facts.maximum


def test_a_volume_has_the_range_of_all_its_slices_and_a_spacing():
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    facts = inspect_data(write_nifti(voxels, np.diag([0.5, 0.75, 2, 1]), compress=True))
    assert (facts.format, facts.pages, facts.minimum, facts.maximum) == ("nifti", 3, 0, 59)
    assert facts.spacing_mm == (0.75, 0.5)


def test_the_pages_of_a_tiff_are_all_read(write_tiff):
    stack = np.stack([np.full((5, 6), value, np.uint16) for value in (7, 900, 3)])
    facts = inspect_data(write_tiff(stack, photometric="minisblack"))
    assert (facts.pages, facts.minimum, facts.maximum) == (3, 3, 900)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "empty"), (b"junk" * 50, "unsupported"), (gzip.compress(bytes(4000), mtime=0), "unsupported"),
     (encode_png(np.zeros((30, 30), np.uint8))[:-30], "truncated")],
)  # fmt: skip
def test_a_bad_file_is_said_to_be_refused_and_why(data, code):
    facts = inspect_data(data)
    assert facts.refused == code
    assert facts.reason


def test_many_files_are_counted_by_kind_and_reason():
    def unreadable():
        raise DataError("CANARY.png: the checksum does not fit")

    low, high = encode_png(np.full((4, 6), 2, np.uint8)), encode_png(np.full((4, 6), 9, np.uint8))
    done = []
    facts = inspect_many(
        [
            lambda: low,
            lambda: b"junk" * 50,
            lambda: high,
            unreadable,
            lambda: encode_png(np.zeros((5, 5, 3), np.uint8)),
        ],
        progress=done.append,
    )
    assert (facts.files, done) == (5, [1, 2, 3, 4, 5])
    assert [(kind.count, kind.facts.height, kind.facts.minimum, kind.facts.maximum) for kind in facts.kinds] == [
        (2, 4, 2, 9), (1, 5, 0, 0),
    ]  # fmt: skip
    assert {(item.code, item.count) for item in facts.refused} == {("unsupported", 1), ("unreadable", 1)}
    assert "CANARY" not in str(facts)
    assert facts.series == ()
