"""``medloom predict``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.options import JsonOption
from medloom.cli.output import ExitCode, print_result, progress, warn
from medloom.cli.verify import BundleArgument, RuntimeOption
from medloom.errors import DataError

if TYPE_CHECKING:
    from medloom.inference.files import FileResult

__all__ = ["command"]

_SHOWN_ERRORS = 20


def command(
    bundle: BundleArgument,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images, folders and zips.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.")],
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="GLOB", help="Names in folders and zips to leave out [default: *_mask.*]."),
    ] = None,
    page: Annotated[int | None, typer.Option("--page", min=0, help="Page of TIFFs that have several.")] = None,
    runtime: RuntimeOption = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Threads; default: all cores.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Segment files, folders and zips with a bundle.

    Writes masks/ (PNG in the size of the image), overlays/ and predictions.csv. A bad file is reported
    and the rest go on; the exit code is then 3.
    """
    from medloom.inference.files import open_images, predict_files
    from medloom.packaging import read_bundle

    with read_bundle(bundle) as opened:
        manifest = opened.manifest
        predictor = opened.predictor(runtime=runtime, threads=threads)
    page = manifest.input.page if page is None else page
    with open_images(paths, skip if skip is not None else ["*_mask.*"]) as images, progress("predict") as update:
        if not images:
            raise DataError("there are no images in " + ", ".join(map(str, paths)))
        results = predict_files(predictor, images, output, page=page, progress=update)
    _report(results, output, phantom=manifest.phantom, as_json=as_json)


def _report(results: Sequence[FileResult], output: Path, *, phantom: bool, as_json: bool) -> None:
    bad = [result for result in results if result.error]
    found = sum(result.lesion == "yes" for result in results)
    for result in bad[:_SHOWN_ERRORS]:
        warn(f"{result.file}: {result.error}")
    table = output / "predictions.csv"
    value = {
        "images": len(results),
        "with_lesion": found,
        "failed": len(bad),
        "phantom": phantom,
        "table": str(table),
        "results": [asdict(result) for result in results],
    }
    text = f"{len(results) - len(bad)} of {len(results)} images predicted, {found} with a lesion; see {table}"
    if phantom:
        text += "\nThe model learned from phantoms: these predictions mean nothing for people."
    print_result(value, text, as_json=as_json)
    if bad:
        raise typer.Exit(ExitCode.SET_ASIDE)
