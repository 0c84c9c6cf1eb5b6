"""Where the images, the labels and the model of an event are: in a bucket on S3 or in a folder of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from medloom.aws import plainly
from medloom.data.buckets import SCHEME, BucketSource, place_of
from medloom.data.sources import FolderSource, Source
from medloom.errors import DataError, UserError
from medloom.extras import require
from medloom.files import flush_files, replacing, write_soon
from medloom.imaging import FILE_BUDGET

__all__ = ["MODEL", "fetch_model", "fetched", "opened", "put_model"]

MODEL = "model.tar.gz"
"""How a model is called in its bucket."""


def opened(name: str, where: str, folder: str = "") -> Source:
    """Open a folder of this machine, or a bucket where there is no such folder.

    Args:
        name: The argument that named it, for messages.
        where: Name of a bucket, ``s3://BUCKET/PREFIX``, or a folder.
        folder: Folder in it.

    Raises:
        UserError: If there is neither.
    """
    here = Path(where).expanduser()
    if here.is_dir() and not where.startswith(SCHEME):
        inside = (here / folder).resolve()
        if not inside.is_relative_to(here.resolve()):
            raise UserError(f"folder_name: expected a folder inside of {name}; got {folder!r}")
        if not inside.is_dir():
            raise UserError(f"{name}: there is no folder {folder!r} in it")
        return FolderSource(here / folder)
    try:
        return BucketSource(place_of(_uri(name, where, folder)))
    except UserError as error:
        raise UserError(f"{name}: there is no folder {where} here, and no such bucket can be read. {error}") from error


def fetched(source: Source, folder: Path) -> Path:
    """Return a folder of this machine with the files of a source; unchanged ones are not fetched again.

    Raises:
        DataError: If a file is larger than any image may be, or its name leaves the folder.
    """
    if isinstance(source, FolderSource):
        return Path(source.location)
    names = source.names()
    for name in names:
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise DataError("an object's name leads out of its folder; rename it in the bucket")
        _fetch(source, name, folder)
    for path in set(folder.rglob("*")) - {folder / name for name in names}:  # gone from the bucket, or of another one
        if path.is_file():
            path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    flush_files(folder)
    return folder


def _fetch(source: Source, name: str, folder: Path) -> None:
    path, note = folder / name, folder.parent / f".{folder.name}-stamps" / name
    stamp = source.stamp(name).encode()
    if path.is_file() and note.is_file() and note.read_bytes() == stamp:
        return
    data = source.read(name)
    if len(data) > FILE_BUDGET.max_bytes:
        raise DataError(f"an object is larger than the {FILE_BUDGET.max_bytes:,} bytes that an image may have")
    for place, content in ((path, data), (note, stamp)):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_soon(place, content)


def fetch_model(where: str, folder: Path) -> Path:
    """Return the bundle that ``model_bucket_name`` names: a file, ``model.tar.gz`` in a folder, or in a bucket.

    Raises:
        UserError: If there is none.
    """
    here = Path(where).expanduser()
    if here.exists() and not where.startswith(SCHEME):
        path = here / MODEL if here.is_dir() and (here / MODEL).exists() else here
        if path.is_dir() and not (path / "bundle.json").exists():
            raise UserError(f"model_bucket_name: {where} holds no {MODEL}; train one first, with is_train true")
        return path
    place = place_of(_model_uri(where))
    path = folder / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    with plainly("model_bucket_name: the model cannot be fetched"), replacing(path) as part:
        require("boto3", "aws").client("s3").download_file(place.bucket, place.key, str(part))
    return path


def put_model(bundle: Path, where: str) -> str:
    """Put a bundle where ``model_bucket_name`` says, into a bucket or into a folder that is there; return the place."""
    here = Path(where).expanduser()
    if not where.startswith(SCHEME) and (here.exists() or "/" in where):
        here.mkdir(parents=True, exist_ok=True)
        with replacing(here / MODEL) as part:
            shutil.copyfile(bundle, part)
        return str(here / MODEL)
    place = place_of(_model_uri(where))
    with plainly("model_bucket_name: the model is trained and cannot be put there"):
        require("boto3", "aws").client("s3").upload_file(str(bundle), place.bucket, place.key)
    return str(place)


def _model_uri(where: str) -> str:
    uri = where if where.startswith(SCHEME) else f"{SCHEME}{where}"
    return uri if uri.endswith(".tar.gz") else f"{uri.rstrip('/')}/{MODEL}"


def _uri(name: str, where: str, folder: str) -> str:
    uri = where if where.startswith(SCHEME) else f"{SCHEME}{where}"
    uri = "/".join(part for part in (uri.rstrip("/"), folder.strip("/")) if part)
    try:
        place = place_of(uri)
    except DataError as error:
        raise UserError(f"{name}: there is no folder {where} here, and {error}") from error
    return f"{place}/" if place.key else str(place)
