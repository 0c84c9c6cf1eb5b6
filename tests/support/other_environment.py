"""Environments of their own for software that does not fit beside Medloom, made on first use and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from medloom.files import sha256_bytes

__all__ = ["environment_with"]

PLACE = Path(os.environ.get("MEDLOOM_TEST_ENVIRONMENTS") or Path.home() / ".cache" / "medloom-test-environments")


def environment_with(name: str, pinned: Sequence[str]) -> Path:
    """Return the folder of an environment that holds some releases; skip the test where they cannot be installed."""
    folder = PLACE / f"{name}-{sha256_bytes(' '.join(pinned).encode())[:12]}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile"]
        done = subprocess.run([*install, "-U", "pip"], capture_output=True, text=True)
        done = done if done.returncode else subprocess.run([*install, *pinned], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{pinned[0]} cannot be installed: is the package index reached?")
        (folder / "complete").touch()
    return folder
