"""A store: a file is there once, whole, or not at all."""

from __future__ import annotations

import threading

import pytest

from medloom.errors import DiskFullError
from medloom.rounds.store import FolderStore


def test_of_many_writers_of_one_key_exactly_one_wins_and_its_file_is_whole(tmp_path):
    store, start, won = FolderStore(tmp_path), threading.Barrier(8), []

    def write(number: int) -> None:
        start.wait()
        if store.put("round/a/result", bytes([number]) * 100_000):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("round/a/result") == bytes(won) * 100_000


def test_a_listing_has_the_keys_below_a_prefix_and_nothing_half_written(tmp_path):
    store = FolderStore(tmp_path)
    for key in ("round/1/b", "round/1/a/c", "round/12/d"):
        store.put(key, b"")
    (tmp_path / "round" / "1" / ".part-x").write_bytes(b"half")
    assert store.list("round/1/") == ["round/1/a/c", "round/1/b"]
    assert store.list("nothing/") == []


def test_what_is_deleted_is_gone_and_the_rest_stays(tmp_path):
    store = FolderStore(tmp_path)
    store.put("round/1/a", b"")
    store.put("round/2/a", b"")
    store.delete("round/1/")
    assert store.list("round/") == ["round/2/a"]
    with pytest.raises(KeyError):
        store.get("round/1/a")


@pytest.mark.parametrize("key", ["../a", "/a", "a//b", "a/../../b", ""])
def test_a_key_cannot_lead_outside(tmp_path, key):
    with pytest.raises(ValueError, match="not a key"):
        FolderStore(tmp_path / "store").put(key, b"")


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", full)
    with pytest.raises(DiskFullError):
        FolderStore(tmp_path).put("a", b"data")
    assert list(tmp_path.iterdir()) == []
