"""Where the images and the pixel store of a run are on this machine.

A run directory says neither: it travels. The store is found in the cache by its key. The images are looked for beside
the run, where they lay when it was prepared, and where this machine last had them; a place counts only if it holds the
files that the catalogue names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from medloom import __version__, data
from medloom.data.opening import Images
from medloom.errors import DataError, UserError
from medloom.events import Events, Noted
from medloom.files import TemporaryFolder, cache_dir, read_json, sha256_bytes, write_json
from medloom.locks import share
from medloom.pipeline.environment import environment
from medloom.pipeline.runs import Run
from medloom.recipe import PhantomConfig, Recipe
from medloom.transforms import Preprocess

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "downloads_dir",
    "existing_images",
    "find_images",
    "find_store",
    "in_use",
    "phantom_key",
    "phantoms_dir",
    "remember_images",
    "resolve_images",
    "stores_dir",
]

_PHANTOM_LAYOUTS = {"brain-mri": "lgg-mri", "chest-xray": "folder-classes", "melanoma": "csv"}
"""The layout that each kind of phantom is written in."""

_NEAR = 3
"""Images so many folders above a run, as in ``project/images`` and ``project/runs/name/fold-0``, move with it."""


def resolve_images(recipe: Recipe, given: str | Images | None = None, *, events: Events | None = None) -> Images:
    """Find the images of a recipe: what was given, its own path, Kaggle with credentials, else phantoms.

    Args:
        recipe: Says where, if ``given`` does not.
        given: Folder, zip, or ``s3://bucket/prefix/``.
        events: Told of patients made and patients in all when phantoms are made.

    Returns:
        An existing folder or zip, or a place in a bucket.

    Raises:
        UserError: If it does not exist, or if there is nothing to stand in for it.
    """
    said = given or recipe.data.path
    if said:
        return existing_images(said)
    if recipe.data.kaggle and data.kaggle_credentials():
        return data.fetch_kaggle(recipe.data.kaggle, downloads_dir())
    if recipe.data.layout != _PHANTOM_LAYOUTS[recipe.data.phantom.kind]:
        raise UserError(f"recipe {recipe.name} has no images: pass --data PATH, a folder or a zip")
    return _phantom(recipe.data.phantom, events or Events())


def existing_images(given: str | Images) -> Images:
    """Return where images are that ``--data`` named.

    Raises:
        UserError: If there is no such folder or zip. Whether a bucket has some is found when it is opened.
    """
    where = data.images_at(given)
    if not isinstance(where, Path):
        return where
    path = where.absolute()
    if not path.exists():
        raise UserError(f"--data {given}: there is no such folder or zip")
    return path


def _phantom(config: PhantomConfig, events: Events) -> Path:
    folder = data.make_phantom(
        data.PhantomPlan.of(config), phantoms_dir() / phantom_key(config), progress=events.progress("phantoms")
    )
    with suppress(OSError):  # a cache that others own
        os.utime(folder)  # when it was last used
    return folder


def remember_images(run: Run, images: Images) -> None:
    """Note where the images of a prepared run are: in the run, if that holds when it moves, and here.

    Args:
        run: The run, with its catalogue.
        images: Folder or zip, which may move with the run if it is near; or a place in a bucket.
    """
    write_json(run.folder / "run.json", {"data": _from_run(run, images), "environment": environment()})
    _remember_here(run, images)


def _from_run(run: Run, images: Images) -> str | None:
    """What a run says of the place of its images, wherever it is; None where only this machine knows it."""
    if not isinstance(images, Path):
        return str(images)
    away = os.path.relpath(images.absolute(), run.folder.absolute())
    return away if Path(away).parts.count(os.pardir) <= _NEAR else None


def _remember_here(run: Run, images: Images) -> None:
    write_json(_note(run), {"data": data.absolute(images)})


def _note(run: Run) -> Path:
    """Where this machine keeps the place of a run's images; runs of one catalogue have the same images."""
    return cache_dir() / "data" / f"{run.facts('prepare.json', 'prepare')['catalogue_sha256'][:32]}.json"


def find_images(run: Run, given: str | Images | None = None, *, events: Events | None = None) -> Images:
    """Find the images that a run was prepared from, wherever the run is now.

    Args:
        run: The run.
        given: Folder, zip or place in a bucket where the caller has them.
        events: Told of progress if phantoms have to be made again.

    Raises:
        UserError: If they are not known here, or what was given is not what the run was prepared from.
    """
    catalogue = data.read_catalogue(run.folder / "catalogue.csv")
    said = given or run.recipe.data.path
    if said:
        path = existing_images(said)
        if not _holds(path, catalogue):
            raise UserError(
                f"--data {said}: these are not the images that {run.folder} was prepared from; to measure its model on "
                "others, name its bundle: medloom evaluate model.tar.gz --data PATH"
            )
        _remember_here(run, path)
        return path
    for path in _candidates(run, events or Events()):
        if not (isinstance(path, Path) and not path.exists()) and _holds(path, catalogue):
            return path
    raise UserError(
        f"the images that {run.folder} was prepared from are not known on this machine; say where they are: --data PATH"
    )


def _candidates(run: Run, events: Events) -> Iterator[Images]:
    said = run.facts("run.json", "prepare")["data"]
    if said is not None:
        where = data.images_at(said)
        yield Path(os.path.normpath(run.folder.absolute() / where)) if isinstance(where, Path) else where
    note = _note(run)
    if note.is_file():
        yield data.images_at(read_json(note)["data"])
    if run.facts("prepare.json", "prepare")["phantom"]:
        yield _phantom(run.recipe.data.phantom, events)


def _holds(images: Images, catalogue: pd.DataFrame) -> bool:
    """Whether a folder or zip has every file of a catalogue, and the content of one of them."""
    try:
        with data.open_source(images) as source:
            names = set(source.names())
            files = {file for cell in catalogue["image"] for file in data.image_files(cell) if file}
            return files <= names and data.matches(_looked_at(catalogue), source)
    except (DataError, OSError):
        return False


def _looked_at(catalogue: pd.DataFrame) -> pd.Series:
    """The first row that is no test sample, if there is one: nothing opens those without need."""
    learned = catalogue[catalogue["split"] != "test"]
    return (learned if len(learned) else catalogue).iloc[0]


@contextmanager
def in_use(images: Images) -> Iterator[None]:
    """Keep images that lie in the cache from being removed while they are read."""
    if not isinstance(images, Path) or cache_dir().absolute() not in images.absolute().parents:
        yield
        return
    number = share(images)
    try:
        yield
    finally:
        os.close(number)


def downloads_dir() -> Path:
    """Return the folder of the data sets that were downloaded to this machine."""
    return cache_dir() / "kaggle"


def phantoms_dir() -> Path:
    """Return the folder of the phantom images of this machine."""
    return cache_dir() / "phantom"


def phantom_key(config: PhantomConfig) -> str:
    """Return the name of the folder in ``phantoms_dir`` that holds the phantom images of a recipe."""
    return sha256_bytes(f"{__version__} {config.model_dump_json()}".encode())[:12]


def stores_dir() -> Path:
    """Return the folder of the pixel stores of this machine."""
    return cache_dir() / "stores"


def find_store(run: Run, given: str | Images | None = None, *, events: Events | None = None) -> data.PixelStore:
    """Open the pixel store of a run; build it again from the images where this machine does not have it.

    Args:
        run: The run.
        given: Folder, zip or place in a bucket with the images, for building.
        events: Told that it is built, and how far it is.

    Raises:
        UserError: If it is not here and cannot be built.
    """
    key = run.facts("prepare.json", "prepare")["store"]["key"]
    try:
        return data.PixelStore.open(stores_dir() / key)
    except DataError:
        return _build_again(run, key, given, events or Events())


def _build_again(run: Run, key: str, given: str | Images | None, events: Events) -> data.PixelStore:
    try:
        images = find_images(run, given, events=events)
    except UserError as error:
        raise UserError(
            f"the pixel store of {run.folder} is not in {stores_dir()} and cannot be built: {error}"
        ) from error
    events.emit(Noted(f"the pixel store of {run.folder} is not in {stores_dir()}; it is built again from the images"))
    beside = TemporaryFolder("medloom-again-")
    try:
        with data.open_source(images) as source:
            store = data.prepare(
                run.recipe,
                source,
                beside.path,
                stores_dir(),
                workers=os.cpu_count() or 1,
                preprocess=Preprocess.of(run.recipe.preprocess),
                progress=events.progress("prepare"),
            ).store
    finally:
        beside.remove()
    if store.key != key:
        raise UserError(f"{images} holds other images than those that {run.folder} was prepared from; pass --data PATH")
    return store
