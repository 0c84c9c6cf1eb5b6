"""A batch of images that a job predicts there, and its answers made into the files that ``medloom batch`` writes.

SageMaker ends a whole job at the first image that the container refuses. So Medloom's answers with the reason instead
(``medloom.serving.records``), and such an answer is told from a prediction here.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.faults import plainly
from medloom.backends.sagemaker.hosting import Transform, transform_calls
from medloom.backends.sagemaker.names import split_uri
from medloom.backends.sagemaker.place import Place
from medloom.backends.sagemaker.pull import pull_folder
from medloom.client.answers import accept_for
from medloom.client.files import AskedFile, Facts, ask_files
from medloom.client.stored import StoredAnswers, refusal_in
from medloom.errors import ServerError, UserError
from medloom.inference.inputs import ImageFile
from medloom.inference.metadata import Metadata
from medloom.inference.writers import Outcome, summary
from medloom.serving.batch import inputs_of, write_results

__all__ = ["ANSWER", "FILES", "Answers", "begin_transform", "fetch_answers", "fetch_files", "names_there"]

ANSWER = ".out"
"""What SageMaker puts behind the name of an image."""

FILES = accept_for((), ("overlay",))
"""What answers have to be, so that all files can be made from them."""

_FETCHED = ".answers"
_NONE = "no_answer"

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Answers:
    """What came back of a batch.

    Args:
        answered: Images that have an answer.
        refused: Why the others have none, in one word, by name.
        phantom: Whether the model learned from phantoms.
        result: What ``batch.json`` says of it: counts, codes, what was found and what is to be said of that.
    """

    answered: int
    refused: Mapping[str, str]
    phantom: bool = False
    result: Mapping[str, Any] = field(default_factory=dict)


def names_there(account: Account, uri: str) -> list[str]:
    """Return the names of the images below a place in a bucket, relative to it.

    Raises:
        UserError: If there is none, or it may not be listed.
    """
    bucket, prefix = split_uri(f"{uri.rstrip('/')}/")
    with plainly(f"{uri} cannot be listed"):
        pages = account.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [one["Key"].removeprefix(prefix) for page in pages for one in page.get("Contents", [])]
    names = [key for key in keys if key and not key.endswith("/")]
    if not names:
        raise UserError(f"{uri} holds nothing that could be predicted")
    return names


def begin_transform(account: Account, transform: Transform, place: Place) -> None:
    """Make the model and begin the job.

    Raises:
        MedloomError: If AWS refuses.
    """
    for call in transform_calls(transform, place):
        account.send(call, f"the batch {transform.name} cannot begin")


def fetch_answers(
    account: Account, transform: Transform, names: Sequence[str], folder: Path, progress: Progress | None = None
) -> Answers:
    """Bring the answers of a batch back as they are, one file an image, and see which images have one.

    Args:
        account: The account.
        transform: The batch.
        names: Of the images.
        folder: Where they go.
        progress: Called with how many are here and how many there are.
    """
    pull_folder(account, transform.target, folder, progress)
    refused = _refused(folder, names)
    codes = dict(sorted(Counter(refused.values()).items()))
    result = {"inputs": len(names), "results": len(names), "failed": len(refused), "codes": codes}
    return Answers(len(names) - len(refused), refused, result=result)


def fetch_files(
    account: Account,
    transform: Transform,
    names: Sequence[str],
    folder: Path,
    progress: Progress | None = None,
    *,
    parquet: bool = False,
) -> Answers:
    """Bring the answers of a batch back as the files that ``medloom batch`` writes of it.

    Args:
        account: The account.
        transform: The batch; its answers are ``FILES``.
        names: Of the images, in the order of the table.
        folder: Where the files go.
        progress: Called with how many answers are here and how many there are.
        parquet: Whether the table is also written as Parquet.

    Raises:
        ServerError: If what came is no answer of Medloom's container.
    """
    fetched = folder / _FETCHED
    try:
        found = fetch_answers(account, transform, names, fetched, progress)
        if not found.answered:
            return found
        return _written(fetched, names, folder, found, parquet=parquet)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)


def _written(fetched: Path, names: Sequence[str], folder: Path, found: Answers, *, parquet: bool) -> Answers:
    """Write what belongs to each answer, and the table."""
    nothing: Metadata = {}
    given = ((ImageFile(name, partial(_read, fetched / f"{name}{ANSWER}")), nothing) for name in names)
    none = ServerError("no answer came of it")
    files = [
        AskedFile(
            one.entry,
            one.metadata,
            one.name,
            none if found.refused.get(one.entry.name) == _NONE else one.problem,
        )
        for one in inputs_of(given, named=True)
    ]
    outcome = ask_files(StoredAnswers(), Facts(), files, folder)
    write_results(outcome.results, outcome.target, folder, parquet=parquet)
    return _counted(outcome, found)


def _counted(outcome: Outcome, found: Answers) -> Answers:
    said = summary(outcome.target, outcome.results)
    bad = [one for one in outcome.results if one.error]
    result = {
        "inputs": found.result["inputs"],
        "results": len(outcome.results),
        "failed": len(bad),
        "codes": dict(sorted(Counter(one.code for one in bad).items())),
        **said.counts,
        "text": said.text,
        "warnings": list(said.warnings),
    }
    refused = {**{one.file: one.code for one in bad}, **found.refused}
    return Answers(found.result["inputs"] - len(refused), refused, outcome.phantom, result)


def _refused(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Why images have no answer, by name."""
    found = {}
    for name in names:
        path = folder / f"{name}{ANSWER}"
        code = refusal_in(path.read_bytes()) if path.is_file() else _NONE
        if code is not None:
            found[name] = code
    return found


def _read(path: Path) -> bytes:
    return path.read_bytes()
