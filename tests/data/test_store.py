"""A store is whole or not there, and holds what was put into it."""

import pickle

import numpy as np
import pytest

from medloom.data.store import PixelStore, StoreWriter
from medloom.errors import DataError

RNG = np.random.default_rng(0)


def rows(count, dtype):
    images = (RNG.random((count, 2, 8, 6)) * 200).astype(dtype)
    masks = RNG.integers(0, 2, (count, 8, 6), dtype=np.uint8)
    return images, masks, RNG.random((count, 2), np.float32), RNG.random((count, 2), np.float32)


def fill(writer, images, masks, offset, scale, order=None):
    for row in order if order is not None else range(len(images)):
        writer.put(row, images[row], masks[row], offset[row], scale[row])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_was_put_comes_out_in_any_order_of_writing(tmp_path, dtype):
    arrays = rows(5, dtype)
    with StoreWriter(tmp_path, 5, (2, 8, 6), dtype) as writer:
        fill(writer, *arrays, order=[3, 0, 4, 2, 1])
        path = writer.publish("key", list("abcde"), {"samples": []})
    store = PixelStore.open(path)
    for found, expected in zip((store.images, store.masks, store.offset, store.scale), arrays, strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(store.foreground_px, np.count_nonzero(arrays[1], axis=(1, 2)))
    assert store.images.dtype == dtype
    assert len(store) == 5
    assert store.rows(["e", "a"]).tolist() == [4, 0]
    assert store.nbytes == arrays[0].nbytes + arrays[1].nbytes


def test_the_pixels_are_mapped_read_only(tmp_path):
    with StoreWriter(tmp_path, 1, (2, 8, 6), np.uint8) as writer:
        fill(writer, *rows(1, np.uint8))
        store = PixelStore.open(writer.publish("key", ["a"], {}))
    assert isinstance(store.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.images[0] = 0


def test_an_unfinished_store_leaves_nothing(tmp_path):
    with StoreWriter(tmp_path, 1, (2, 8, 6), np.uint8):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_a_living_one_kept(tmp_path):
    abandoned = tmp_path / ".building.abc"
    abandoned.mkdir()
    with StoreWriter(tmp_path, 1, (2, 8, 6), np.uint8), StoreWriter(tmp_path, 1, (2, 8, 6), np.uint8):
        assert len(list(tmp_path.iterdir())) == 2
        assert not abandoned.exists()


def test_the_folder_of_a_living_process_stays_while_a_worker_of_it_writes(tmp_path):
    with StoreWriter(tmp_path, 1, (2, 8, 6), np.uint8) as writer:
        copy = pickle.loads(pickle.dumps(writer))
        with StoreWriter(tmp_path, 1, (2, 8, 6), np.uint8):
            fill(copy, *rows(1, np.uint8))
        assert PixelStore.open(writer.publish("key", ["a"], {})).images.any()


def test_a_store_that_is_there_stays(tmp_path):
    first, second = rows(1, np.uint8), rows(1, np.uint8)
    for arrays in (first, second):
        with StoreWriter(tmp_path, 1, (2, 8, 6), np.uint8) as writer:
            fill(writer, *arrays)
            path = writer.publish("key", ["a"], {})
    np.testing.assert_array_equal(PixelStore.open(path).images, first[0])


def test_a_row_of_another_shape_is_refused(tmp_path):
    images, masks, offset, scale = rows(1, np.uint8)
    with StoreWriter(tmp_path, 1, (2, 8, 6), np.uint8) as writer, pytest.raises(ValueError, match="shape"):
        writer.put(0, images[0, :, :4], masks[0], offset[0], scale[0])


def test_a_missing_store_and_a_missing_sample_say_what_to_run(tmp_path):
    with pytest.raises(DataError, match="medloom prepare"):
        PixelStore.open(tmp_path / "nothing")
    with StoreWriter(tmp_path, 1, (2, 8, 6), np.uint8) as writer:
        fill(writer, *rows(1, np.uint8))
        store = PixelStore.open(writer.publish("key", [""], {}))
    with pytest.raises(DataError, match="P001-001"):
        store.rows(["P001-001"])
