"""A run that was trained there comes back as an ordinary run directory.

The container writes the run below its checkpoints, which lie in the bucket file by file; so what is here already is not
fetched again, and a run that goes on there can be looked at in between.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.faults import plainly
from medloom.backends.sagemaker.names import split_uri
from medloom.errors import MedloomError, UserError
from medloom.files import replacing

__all__ = ["Pulled", "pull_folder", "pull_run"]

_AT_ONCE = 8
_SETTLED_S = 2.0
_RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class Pulled:
    """What came back.

    Args:
        folder: The run directory, or the folder with the answers.
        files: How many there are.
        fetched: How many of them were fetched now.
        bytes: How large all are.
    """

    folder: Path
    files: int
    fetched: int
    bytes: int


def pull_run(
    account: Account,
    uri: str,
    folder: Path,
    progress: Callable[[int, int], object] | None = None,
    only: Collection[str] | None = None,
) -> Pulled:
    """Fetch a run directory.

    Args:
        account: The account.
        uri: Where its checkpoints are.
        folder: Where it goes.
        progress: Called with how many files are here and how many there are.
        only: Names of files and folders at its top that are fetched; all by default.

    Raises:
        UserError: If there is no run there yet.
    """
    with plainly("the run cannot be fetched"):
        s3, (bucket, prefix) = account.client("s3"), split_uri(uri)
        found = _objects(s3, bucket, f"{prefix.rstrip('/')}/")
        root = _root(found)
        if root is None:
            raise UserError(
                f"{uri} holds no run yet: the job has not begun to write; medloom sagemaker logs shows what it is at"
            )
        inside = {name.removeprefix(root): size for name, size in found.items() if name.startswith(root)}
        if only is not None:
            inside = {name: size for name, size in inside.items() if PurePosixPath(name).parts[0] in only}
        return _fetched(s3, bucket, f"{prefix.rstrip('/')}/{root}", inside, folder, progress)


def pull_folder(
    account: Account, uri: str, folder: Path, progress: Callable[[int, int], object] | None = None
) -> Pulled:
    """Fetch everything below a place in a bucket.

    Raises:
        UserError: If there is nothing.
    """
    with plainly("the answers cannot be fetched"):
        s3, (bucket, prefix) = account.client("s3"), split_uri(uri)
        found = _objects(s3, bucket, f"{prefix.rstrip('/')}/")
        if not found:
            raise UserError(f"{uri} holds nothing yet")
        return _fetched(s3, bucket, f"{prefix.rstrip('/')}/", found, folder, progress)


def _objects(s3: Any, bucket: str, prefix: str) -> dict[str, int]:  # noqa: ANN401 - boto3 has no types
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    listed = ((one["Key"].removeprefix(prefix), int(one["Size"])) for page in pages for one in page.get("Contents", []))
    return {name: size for name, size in listed if name and not name.endswith("/")}


def _root(found: Mapping[str, int]) -> str | None:
    """The folder of the run among the objects: that of the recipe which lies highest."""
    recipes = [name for name in found if PurePosixPath(name).name == _RECIPE]
    return min(recipes, key=lambda name: name.count("/")).removesuffix(_RECIPE) if recipes else None


def _fetched(
    s3: Any,  # noqa: ANN401 - boto3 has no types
    bucket: str,
    prefix: str,
    found: Mapping[str, int],
    folder: Path,
    progress: Callable[[int, int], object] | None,
) -> Pulled:
    for name in found:
        _refuse_outside(name)
    folder.mkdir(parents=True, exist_ok=True)
    fetched = 0
    with ThreadPoolExecutor(_AT_ONCE, "pull") as crew:
        jobs = [crew.submit(_fetch, s3, bucket, f"{prefix}{name}", size, folder / name) for name, size in found.items()]
        try:
            for number, job in enumerate(as_completed(jobs), 1):
                fetched += job.result()
                if progress:
                    progress(number, len(found))
        except BaseException:
            crew.shutdown(cancel_futures=True)
            raise
    return Pulled(folder, len(found), fetched, sum(found.values()))


def _fetch(s3: Any, bucket: str, key: str, size: int, path: Path) -> bool:  # noqa: ANN401 - boto3 has no types
    """Fetch a file unless it is here as it is there, which its size and the time of its last change say.

    S3 tells times in whole seconds. So a file that was written in the last ones is fetched again the next time.
    """
    changed = s3.head_object(Bucket=bucket, Key=key)["LastModified"].timestamp()
    if path.is_file() and path.stat().st_size == size and path.stat().st_mtime == changed:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, size) as part:
        s3.download_file(bucket, key, str(part))
        is_settled = time.time() - changed > _SETTLED_S
        os.utime(part, (changed, changed if is_settled else changed - 1))
    return True


def _refuse_outside(name: str) -> None:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise MedloomError(
            f"the bucket holds an object whose name leads out of the folder: {name!r}; nothing was written"
        )
