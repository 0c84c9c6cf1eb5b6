"""What memory there is, what says that there is no more, and what the command line says then."""

from __future__ import annotations

import resource
import sys

import numpy as np
import pytest

from medloom.cli.main import main
from medloom.cli.output import ExitCode, fail
from medloom.errors import BundleError, NoMemoryError
from medloom.inference.in_memory import run_in_memory
from medloom.memory import _of_group, available_bytes, is_out_of_memory, kept_within_memory

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits of private memory are Linux's")


def test_a_real_allocation_that_fails_is_known_for_what_it_is():
    import torch

    for allocate in (lambda: np.empty(2**60, np.uint8), lambda: torch.empty(2**60, dtype=torch.uint8)):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            allocate()
        assert is_out_of_memory(caught.value)
    chained = BundleError("ONNX Runtime cannot run the model")
    chained.__cause__ = caught.value
    assert is_out_of_memory(chained)
    assert not is_out_of_memory(RuntimeError("size mismatch"))


@LINUX
def test_within_a_limit_an_allocation_fails_and_after_it_the_limit_is_as_before(monkeypatch):
    monkeypatch.setattr("medloom.memory._of_machine", lambda: 300 * 2**20)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with kept_within_memory():
        assert available_bytes() < 300 * 2**20
        with pytest.raises(MemoryError):
            np.ones(400 * 2**20, np.uint8)
        assert np.ones(100 * 2**20, np.uint8).all()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_batch_for_which_memory_is_short_is_answered_in_pieces_and_one_image_says_so():
    def short(batch, table):
        if len(batch) > 2:
            raise BundleError("ONNX Runtime cannot run the model: Failed to allocate memory for requested buffer")
        return batch.sum(axis=(2, 3)) + table

    batch, table = np.random.default_rng(0).random((7, 3, 4, 4), np.float32), np.arange(7, dtype=np.float32)[:, None]
    assert np.array_equal(run_in_memory(short, batch, table), batch.sum(axis=(2, 3)) + table)

    def none(batch, table):
        raise MemoryError

    with pytest.raises(NoMemoryError, match="out of memory in prediction with 1 image at a time"):
        run_in_memory(none, batch, table)


def test_the_command_line_says_what_to_do_and_shows_no_traceback(capsys, monkeypatch):
    assert fail(MemoryError()) == ExitCode.FAILED
    said = capsys.readouterr().err
    assert said.startswith("error: out of memory; close other programs, or take a smaller train.batch_size")

    def without_memory():
        raise MemoryError("Unable to allocate 9.00 GiB for an array with shape (1, 2)")

    monkeypatch.setattr("medloom.cli.main._load", lambda name: without_memory)
    assert main(["recipes"]) == ExitCode.FAILED
    assert "error: out of memory (Unable to allocate 9.00 GiB" in capsys.readouterr().err


def test_what_a_control_group_has_left_counts_files_that_can_be_dropped(tmp_path):
    assert _of_group(tmp_path, "memory.max", "memory.current") is None
    kept = "anon 5\ninactive_file 30000\nactive_file 20000\nunevictable 7\n"
    for name, text in (("max", "1000000"), ("current", "700000"), ("stat", kept)):
        (tmp_path / f"memory.{name}").write_text(text)
    assert _of_group(tmp_path, "memory.max", "memory.current") == 350_000
    (tmp_path / "memory.stat").write_text(kept + "total_inactive_file 60000\ntotal_active_file 40000\n")
    assert _of_group(tmp_path, "memory.max", "memory.current") == 400_000  # as older kernels count groups within
    (tmp_path / "memory.max").write_text("max\n")
    assert _of_group(tmp_path, "memory.max", "memory.current") is None
