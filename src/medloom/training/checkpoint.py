"""Checkpoints of a run: written whole or not at all, checked when they are read.

::

    checkpoints/
        last.safetensors        where the run stands; written at the end of every epoch and now and then inside one
        previous.safetensors    the one before it, in case the last is damaged
        best.safetensors        the network of the best epoch, nothing else
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO

from medloom.errors import DiskFullError, TrainingError
from medloom.files import is_disk_full, replacing
from medloom.training.tree import DamagedTreeError, read_tree, tree_bytes, write_tree

__all__ = ["BEST", "LAST", "PREVIOUS", "TreeCheckpointIO", "clean_up", "newest_checkpoint", "write_checkpoint"]

LAST = Path("checkpoints") / "last.safetensors"
PREVIOUS = Path("checkpoints") / "previous.safetensors"
BEST = Path("checkpoints") / "best.safetensors"


def write_checkpoint(path: Path, tree: Mapping[str, Any], *, keep: Path | None = None) -> None:
    """Write a checkpoint so that, whatever happens, a whole one is there.

    Args:
        path: Where it is to be.
        tree: What ``write_tree`` takes.
        keep: Where the file that is at ``path`` now goes.

    Raises:
        TrainingError: If it cannot be written, for one because the disk is full; names the path and the bytes.
    """
    try:
        with replacing(path) as beside:
            write_tree(beside, tree)
            if keep is not None and path.exists():
                _flush(beside)  # the old file is replaced only once the new bytes are on the disk
                path.replace(keep)
    except OSError as error:
        free = shutil.disk_usage(path.parent).free
        reason = error.reason if isinstance(error, DiskFullError) else error
        before = "The checkpoint before it is intact: m" if any(path.parent.glob("*.safetensors")) else "M"
        failed = TrainingError(
            f"could not write the checkpoint {path}: {reason}. It needs {tree_bytes(tree):,} bytes and {free:,} are "
            f"free there. {before}ake room and give the same command again."
        )
        failed.exit_code = DiskFullError.exit_code if is_disk_full(error) else failed.exit_code
        raise failed from error


def newest_checkpoint(run_dir: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest whole checkpoint of a run, or None before the first.

    A checkpoint whose best weights are not there counts as damaged: the folder was copied, as to and from an object
    store, between two of its files, and older weights would be taken for the best.

    Args:
        run_dir: The run directory.

    Returns:
        Its path and its tree: ``last``, or ``previous`` if ``last`` is damaged or missing.

    Raises:
        TrainingError: If checkpoints are there and all of them are damaged.
    """
    damaged = []
    for path in (run_dir / LAST, run_dir / PREVIOUS):
        try:
            tree = read_tree(path)
        except FileNotFoundError:
            continue
        except DamagedTreeError as error:
            damaged.append(str(error))
        else:
            if not (lack := _lack(run_dir, tree)):
                return path, tree
            damaged.append(f"{path} {lack}")
    if damaged:
        raise TrainingError(f"{'; '.join(damaged)}. Delete {run_dir / LAST.parent} to train from the start.")
    return None


def _lack(run_dir: Path, tree: Mapping[str, Any]) -> str:
    """Say that the best weights are older than a checkpoint says; nothing where they are not."""
    known = int(tree.get("run", {}).get("ledger", {}).get("best_epoch", 0))
    try:
        epoch = int(read_tree(run_dir / BEST)["epoch"]) if known else known
    except FileNotFoundError:
        epoch = 0
    except DamagedTreeError:
        return ""  # said where they are loaded; a better epoch writes them anew
    there = f"is of epoch {epoch}" if epoch else "is not there"
    return "" if epoch >= known else f"says that epoch {known} is the best, and {BEST} {there}"


def clean_up(run_dir: Path, good: Path | None) -> None:
    """Delete what a killed run left half written, and a damaged ``last``, which would replace the good ``previous``.

    Args:
        run_dir: The run directory.
        good: The checkpoint that training goes on from, or None.
    """
    for path in run_dir.glob("**/.*.part"):
        path.unlink()
    if good != run_dir / LAST:
        (run_dir / LAST).unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


class TreeCheckpointIO(CheckpointIO):
    """Lightning's checkpoints in this form. The file that was there becomes ``previous``."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write what Lightning gathered."""
        target = Path(path)
        write_checkpoint(target, checkpoint, keep=target.with_name(PREVIOUS.name))

    def load_checkpoint(
        self, path: str | Path, map_location: object = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read it back, with tensors on the CPU."""
        return read_tree(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)
