"""What a job leaves where SageMaker collects it: the run directory, and the bundle's files."""

from __future__ import annotations

import shutil
from pathlib import Path

from medloom.files import TemporaryFolder
from medloom.packaging.archive import extract

__all__ = ["hand_over", "hand_over_bundle"]

_ASIDE = "medloom-unpacked-"
_LEFT = (".medloom-*", "previous.safetensors")


def hand_over(run: Path, output: Path) -> None:
    """Copy a run directory to where ``output.tar.gz`` is made of; nothing where there is none.

    With its checkpoints, so that a run that was stopped can go on anywhere.

    Args:
        run: The run directory.
        output: Where its files go, which may hold others.
    """
    if run.is_dir() and run.resolve() != output.resolve():
        shutil.copytree(run, output, ignore=shutil.ignore_patterns(*_LEFT), dirs_exist_ok=True)


def hand_over_bundle(bundle: Path, model: Path) -> None:
    """Unpack a bundle into the folder that becomes ``model.tar.gz``: its files at the top, readable by every user.

    Args:
        bundle: The bundle.
        model: The folder, which may hold others.
    """
    model.mkdir(parents=True, exist_ok=True)
    aside = TemporaryFolder(_ASIDE, model)
    try:
        for name in extract(bundle, aside.path):
            target = model / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (aside.path / name).chmod(0o644)
            (aside.path / name).replace(target)
    finally:
        aside.remove()
