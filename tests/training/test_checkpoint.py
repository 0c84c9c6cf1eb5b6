from __future__ import annotations

import math
import resource

import pytest
import torch

from medloom.errors import TrainingError
from medloom.training.checkpoint import LAST, PREVIOUS, TreeCheckpointIO, newest_checkpoint
from medloom.training.tree import DamagedTreeError, read_tree, write_tree

TREE = {
    "weights": {"a.b": torch.arange(6.0).reshape(2, 3).T, "half": torch.ones(3, dtype=torch.bfloat16)},
    "scalar": torch.tensor(3, dtype=torch.int64),
    "state": {0: {"step": torch.tensor(1.5)}, 1: [1, 2.5, None, True, "text"]},
    "betas": (0.9, 0.999),
    "extremes": [math.inf, -math.inf, 5e-324, 0.1 + 0.2],
    "empty": {},
    "$": "a key that looks like a mark",
}


@pytest.fixture
def saved(tmp_path):
    """A run directory with two checkpoints."""
    for number in (1, 2):
        TreeCheckpointIO().save_checkpoint({"number": number, "weights": torch.full((500,), number)}, tmp_path / LAST)
    return tmp_path


def test_a_tree_comes_back_as_it_was(tmp_path):
    write_tree(tmp_path / "tree", TREE)
    back = read_tree(tmp_path / "tree")
    assert back["state"].keys() == {0, 1}
    assert torch.equal(back["weights"]["a.b"], TREE["weights"]["a.b"])
    assert back["weights"]["half"].dtype is torch.bfloat16
    assert back["scalar"].shape == ()
    assert all(back[key] == TREE[key] for key in ("betas", "extremes", "empty", "$"))
    assert back["state"][1] == TREE["state"][1]


def test_the_same_tree_is_the_same_file(tmp_path):
    for name in ("a", "b", "c", "d"):
        write_tree(tmp_path / name, TREE)
    assert len({(tmp_path / name).read_bytes() for name in ("a", "b", "c", "d")}) == 1


def test_tensors_that_share_memory_come_back_apart(tmp_path):
    tensor = torch.zeros(4)
    write_tree(tmp_path / "tree", {"one": tensor, "other": tensor[:2]})
    assert read_tree(tmp_path / "tree")["other"].shape == (2,)


def test_what_a_checkpoint_cannot_hold_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"tree\.deep\.0 is a set"):
        write_tree(tmp_path / "tree", {"deep": [{1, 2}]})


def test_the_newest_checkpoint_is_the_last_that_was_written(saved):
    path, tree = newest_checkpoint(saved)
    assert (path, tree["number"]) == (saved / LAST, 2)
    assert read_tree(saved / PREVIOUS)["number"] == 1


def test_there_is_none_before_the_first(tmp_path):
    assert newest_checkpoint(tmp_path) is None


def test_any_flipped_byte_is_found(saved):
    content = (saved / LAST).read_bytes()
    for position in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        (saved / LAST).write_bytes(damaged)
        with pytest.raises(DamagedTreeError):
            read_tree(saved / LAST)


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_the_previous_one_stands_in_for_a_damaged_or_missing_last(saved, damage):
    (saved / LAST).unlink()
    if damage is not None:
        (saved / LAST).write_bytes(damage)
    assert newest_checkpoint(saved)[1]["number"] == 1


def test_when_all_are_damaged_the_user_is_told_what_to_delete(saved):
    for name in (LAST, PREVIOUS):
        (saved / name).write_bytes(b"damaged")
    with pytest.raises(TrainingError, match=r"Delete .*checkpoints to train from the start"):
        newest_checkpoint(saved)


def test_a_full_disk_leaves_both_checkpoints_and_names_path_and_bytes(saved):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(TrainingError, match=r"last\.safetensors.* needs 400,000 bytes"):
            TreeCheckpointIO().save_checkpoint({"number": 3, "weights": torch.zeros(100_000)}, saved / LAST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert newest_checkpoint(saved)[1]["number"] == 2
    assert sorted(path.name for path in (saved / LAST).parent.iterdir()) == [LAST.name, PREVIOUS.name]
