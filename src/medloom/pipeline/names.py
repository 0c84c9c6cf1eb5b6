"""What runs are called, and where they are kept."""

from __future__ import annotations

import re
from pathlib import Path

from medloom.errors import UserError

__all__ = ["DISTILLED", "EXPLANATION", "FOUND", "OF_A_RUN", "REVIEW", "RUNS", "run_folder"]

RUNS = Path("runs")
"""Where runs are kept unless someone says otherwise."""

FOUND = "found.yaml"
"""The recipe that was worked out from the images, with what speaks for each line."""

DISTILLED = "distilled"
"""The training, inside a run of folds, of one network that stands for their ensemble."""

EXPLANATION = "explanation"
"""Folder with explanations of answers, in a run or beside a bundle."""

REVIEW = "review"
"""Folder in a run with what its deployed model answered, a folder for each endpoint."""

OF_A_RUN = (
    "*.html",
    "appearance.json",
    "baselines.csv",
    "batch_size.json",
    "catalogue.csv",
    "checklists.csv",
    "checkpoints",
    "data_report",
    "data_report.pdf",
    "diagnosis.json",
    DISTILLED,
    "evaluation",
    EXPLANATION,
    "find_lr.json",
    "fingerprint.json",
    "finished.json",
    "fold-*",
    "forecast.json",
    FOUND,
    "identity.json",
    "kept_point.json",
    "metrics.jsonl",
    "model.onnx",
    "model.tar.gz",
    "prepare.json",
    "problems.txt",
    "profile",
    "profile.json",
    "progress",
    "recipe.yaml",
    "report.ipynb",
    "report.pdf",
    "rounds",
    REVIEW,
    "run.json",
    "sagemaker.json",
    "seed-*",
    "system.jsonl",
    "table.json",
    "test_openings.json",
    "tracking.json",
    "trained_on.csv",
    "training.json",
    "validation_report.pdf",
)
"""What Medloom writes into a run directory; anything else there is someone's own."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def run_folder(name: str | Path, runs: Path = RUNS) -> Path:
    """Return the folder of a run by its name, or by a path, which has a slash in it.

    Raises:
        UserError: If it is neither; the message says what a name is.

    Example:
        >>> run_folder("brain-2").as_posix(), run_folder("./elsewhere/brain-2").as_posix()
        ('runs/brain-2', 'elsewhere/brain-2')
    """
    if isinstance(name, Path) or "/" in name:
        path = Path(name).expanduser()
        return path.resolve() if ".." in path.parts else path  # else what is looked at may not be what is written
    if not _NAME.fullmatch(name):
        raise UserError(
            f"--run {name!r}: a name has letters, digits, dots, hyphens and underscores, begins with a letter or a "
            "digit and is not longer than 100, such as brain-2; a path has a slash, such as ./brain-2"
        )
    return runs / name
