"""A batch of images that a job predicts there: sent, followed, and its answers brought back one file an image.

SageMaker ends the whole job where the container refuses one image. So what is no image is set aside here, before it is
sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.hosting import Transform, transform_calls
from medloom.backends.sagemaker.place import Place
from medloom.backends.sagemaker.pull import Pulled, pull_folder
from medloom.data import open_source
from medloom.errors import DecodeError
from medloom.imaging import FILE_BUDGET, inspect

__all__ = ["ANSWER", "Answers", "begin_transform", "fetch_answers", "sound_images"]

ANSWER = ".out"
"""What SageMaker puts behind the name of an image."""


@dataclass(frozen=True)
class Answers:
    """What came back of a batch.

    Args:
        pulled: Where it is and how much.
        answered: Images that have an answer.
        refused: Why those have none that were sent, by name.
    """

    pulled: Pulled
    answered: int
    refused: Mapping[str, str]


def sound_images(
    images: Path, skip: Callable[[str], bool], progress: Callable[[int, int], object] | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return the names of the files that are images, and why the others are none.

    Args:
        images: Folder or zip.
        skip: Which names are left out without a word.
        progress: Called with how many were looked at and how many there are.
    """
    sound: list[str] = []
    refused: dict[str, str] = {}
    with open_source(images) as source:
        names = [name for name in source.names() if not skip(name)]
        for number, name in enumerate(names, 1):
            try:
                inspect(source.read(name), budget=FILE_BUDGET)
                sound.append(name)
            except DecodeError as error:
                refused[name] = error.code
            if progress:
                progress(number, len(names))
    return sound, refused


def begin_transform(account: Account, transform: Transform, place: Place) -> None:
    """Make the model and begin the job.

    Raises:
        MedloomError: If AWS refuses.
    """
    for call in transform_calls(transform, place):
        account.send(call, f"the batch {transform.name} cannot begin")


def fetch_answers(
    account: Account,
    transform: Transform,
    sent: Sequence[str],
    folder: Path,
    progress: Callable[[int, int], object] | None = None,
) -> Answers:
    """Bring the answers of a batch back, one file an image, and see which images have one.

    Args:
        account: The account.
        transform: The batch.
        sent: Names of the images.
        folder: Where they go.
        progress: Called with how many are here and how many there are.
    """
    pulled = pull_folder(account, transform.target, folder, progress)
    refused = {name: reason for name in sent if (reason := _refusal(folder / f"{name}{ANSWER}")) is not None}
    return Answers(pulled, len(sent) - len(refused), refused)


def _refusal(path: Path) -> str | None:
    """Why an image has no answer; None if it has one."""
    if not path.is_file():
        return "no answer came"
    try:
        said: Any = json.loads(path.read_bytes())
    except ValueError:  # a mask as a picture, such as image/png
        return None
    problem = isinstance(said, dict) and "code" in said and "message" in said
    return str(said["code"]) if problem else None
