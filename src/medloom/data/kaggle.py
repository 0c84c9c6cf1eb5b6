"""Data sets on Kaggle, through kagglehub."""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from medloom.errors import DataError
from medloom.extras import require
from medloom.files import read_json, write_json

__all__ = ["fetch_kaggle", "kaggle_credentials", "store_kaggle_credentials"]


def _credentials_file() -> Path:
    return Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle") / "kaggle.json"


def kaggle_credentials() -> bool:
    """Return whether Kaggle credentials are there: in the environment or in ``~/.kaggle/``."""
    environment = os.environ
    if environment.get("KAGGLE_API_TOKEN") or (environment.get("KAGGLE_USERNAME") and environment.get("KAGGLE_KEY")):
        return True
    file = _credentials_file()
    return file.is_file() or (file.parent / "access_token").is_file()


def store_kaggle_credentials(username: str, key: str) -> Path:
    """Keep credentials where Kaggle's own tools look for them, readable by nobody else.

    Args:
        username: Kaggle user name.
        key: API key from the account's settings.

    Returns:
        The file, with mode 0600.

    Raises:
        DataError: If either is blank.
    """
    if not username.strip() or not key.strip():
        raise DataError("Kaggle needs a user name and an API key; find them under Settings > API on kaggle.com")
    file = _credentials_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = file.with_suffix(".part")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        json.dump({"username": username.strip(), "key": key.strip()}, handle)
        handle.flush()
        os.fsync(handle.fileno())
    beside.replace(file)
    return file


def fetch_kaggle(dataset: str, destination: Path) -> Path:
    """Download a data set, or return at once if it is there; an interrupted download goes on where it stopped.

    Args:
        dataset: ``owner/name``.
        destination: Cache folder.

    Returns:
        The folder with its files.

    Raises:
        MissingExtraError: If kagglehub is not installed.
        DataError: If the name is wrong, or Kaggle refuses or cannot be reached.
    """
    if "/" not in dataset.strip("/"):
        raise DataError(f"{dataset!r} is no Kaggle data set; expected owner/name")
    marker = destination / f"{dataset.replace('/', '--')}.json"
    if marker.is_file() and (folder := destination / str(read_json(marker)["folder"])).is_dir():
        return folder
    folder = _download(dataset, destination)
    write_json(marker, {"folder": os.path.relpath(folder, destination)})
    return folder


def _download(dataset: str, destination: Path) -> Path:
    """Let kagglehub work below ``destination``, where it finds what an earlier call began."""
    hub = require("kagglehub", "kaggle")
    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(destination)
    try:
        with redirect_stdout(sys.stderr):
            folder: str = hub.dataset_download(dataset)
    except Exception as error:  # kagglehub lets through whatever its HTTP library raises
        raise DataError(
            f"Kaggle did not give {dataset}: {type(error).__name__}. Check the credentials and the network, "
            f"or download it yourself and pass --data"
        ) from error
    finally:
        if before is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = before
    return Path(folder)
