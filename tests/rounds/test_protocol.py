"""What coordinator and workers write: read back as it was, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.rounds.arrays import CorruptError, digest, pack, unpack
from medloom.rounds.protocol import Contribution, Failure, Manifest, cut

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "count": np.array(7, np.int64),
    "mean": np.full((2, 0), 1.0),
    "turned": np.arange(6.0).reshape(2, 3).T,
}


def test_arrays_come_back_as_they_were():
    arrays, facts = unpack(pack(ARRAYS, {"loss": 0.1, "names": ["a"]}))
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array, strict=True)
    assert (facts["loss"], facts["names"]) == (0.1, ["a"])


def test_the_same_arrays_give_the_same_bytes_in_whatever_order():
    assert pack(ARRAYS, {"a": 1, "b": 2}) == pack(dict(reversed(ARRAYS.items())), {"b": 2, "a": 1})


def test_every_byte_counts():
    data = pack({"a": np.arange(3.0)}, {"n": 1})
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1
        with pytest.raises(CorruptError):
            unpack(bytes(broken))


@pytest.mark.parametrize("length", [0, 5, 8, 100, -1])
def test_a_truncated_file_is_refused(length):
    with pytest.raises(CorruptError):
        unpack(pack(ARRAYS, {})[:length])


def test_arrays_differ_by_name_type_and_shape_and_not_by_where_they_lie():
    array = np.zeros((2, 3))
    others = [{"b": array}, {"a": array.astype(np.float32)}, {"a": array.reshape(3, 2)}, {"a": array + 1}]
    assert digest({"a": array}) not in [digest(other) for other in others]
    assert digest({"a": np.asfortranarray(array)}) == digest({"a": array})


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(1, 12))
def test_shards_hold_every_sample_of_every_batch_once_in_order_and_evenly(sizes, count):
    shards = cut(sizes, count)
    assert all(shard.size > 0 for shard in shards)
    for batch, size in enumerate(sizes):
        parts = [shard.parts[batch] for shard in shards]
        assert [one for first, last in parts for one in range(first, last)] == list(range(size))
        lengths = [last - first for first, last in parts]
        assert not lengths or max(lengths) - min(lengths) <= 1


def test_a_manifest_and_a_contribution_come_back():
    manifest = Manifest(3, "ab", ((4, 5, 6), (7,)), cut([3, 1], 2), {"of": "gradients", "seed": 1})
    assert Manifest.of(manifest.data) == manifest
    part = Contribution(manifest.sha256, "ab", 1, 2, 3, 2.5, {"a": np.zeros(2)}, {"loss": 1.0})
    again = Contribution.of(part.data)
    assert (again.manifest, again.attempt, again.weight, again.facts) == (manifest.sha256, 2, 2.5, {"loss": 1.0})
    with pytest.raises(CorruptError):
        Manifest.of(manifest.data[:-2])
    with pytest.raises(CorruptError):
        Contribution.of(pack({}, {"shard": 1}))


def test_two_rounds_that_differ_in_anything_do_not_share_a_folder():
    rounds = [Manifest(3, "ab", ((4,),), cut([1], 1), {"rate": rate}) for rate in (0.1, 0.2)]
    assert rounds[0].folder != rounds[1].folder


def test_a_failure_that_cannot_be_read_says_so():
    assert Failure.of(Failure("no room", final=True).data) == Failure("no room", final=True)
    assert "cannot be read" in Failure.of(b"{").reason


def test_a_coordinator_needs_no_torch(modules_after):
    loaded = modules_after("import medloom.rounds.coordinator, medloom.rounds.processes, medloom.rounds.mean")
    assert loaded.isdisjoint({"torch", "lightning", "pandas", "scipy", "pydantic"})
