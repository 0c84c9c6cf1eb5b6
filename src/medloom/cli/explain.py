"""``medloom explain``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medloom.cli.options import JsonOption
from medloom.cli.output import ExitCode, print_result, warn
from medloom.cli.verify import BundleArgument, RuntimeOption
from medloom.errors import DataError, MissingExtraError, UserError
from medloom.registry import EXPLANATIONS, check_name
from medloom.wording import counted, few

if TYPE_CHECKING:
    from medloom.explanation import Seen, Unseen
    from medloom.inference import Predictor

__all__ = ["command"]

_GRADIENTS = "torch"

_Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH]...", help="Images, folders and zips; none: validation images of the run."),
]
_Method = Annotated[str, typer.Option("--method", metavar="NAME", help="gradcam, occlusion or integrated-gradients.")]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Folder to write to [default: explanation]."),
]
_Class = Annotated[
    str,
    typer.Option("--class", metavar="NAME", help="What is asked about; default: the likeliest, of two the second."),
]
_Skip = Annotated[
    list[str] | None,
    typer.Option("--skip", metavar="GLOB", help="Names in folders and zips to leave out [default: *_mask.*]."),
]
_Page = Annotated[int | None, typer.Option("--page", min=0, help="Page of files that have several, from 0.")]
_Metadata = Annotated[
    Path | None,
    typer.Option("--metadata", metavar="TABLE.csv", help="Metadata of the images, for models that take some."),
]
_Id = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Column of the table with the image's name.")]
_Count = Annotated[int, typer.Option("--images", min=1, help="Without PATH: how many validation images.")]
_Check = Annotated[
    bool, typer.Option("--check/--no-check", help="Check on some images that maps depend on the weights.")
]


def command(
    bundle: BundleArgument,
    paths: _Paths = None,
    method: _Method = "gradcam",
    output: _Output = None,
    about: _Class = "",
    skip: _Skip = None,
    page: _Page = None,
    metadata: _Metadata = None,
    id_column: _Id = None,
    count: _Count = 8,
    runtime: RuntimeOption = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Threads; default: all cores.")] = None,
    check: _Check = True,
    as_json: JsonOption = False,
) -> None:
    """Show where in images a model finds what speaks for its answers, and what metadata add.

    Without PATH, some validation images of the run are explained, into its folder; its report then shows them.

    Writes maps/ (arrays from -1 to 1), pictures/, explanation.json and one page, explanation.html. Some of the maps are
    checked: the layers of the network are made random, and a map that stays the same shows the image alone.

    gradcam and integrated-gradients need the network itself (the runtime torch); occlusion asks for answers alone, with
    any runtime. Of a model that takes metadata, the page also says what each column adds.

    A bad file is reported and the rest go on; the exit code is then 3.
    """
    from medloom import explanation, pipeline
    from medloom.packaging import read_bundle
    from medloom.reports import write_explanation_page

    check_name("method", method, EXPLANATIONS)
    wanted = runtime or (_GRADIENTS if EXPLANATIONS[method].traits.get("gradients") else None)
    with read_bundle(bundle) as opened:
        manifest, predictor = opened.manifest, opened.predictor(runtime=wanted, threads=threads)
    folder = output or pipeline.explanation_folder(bundle, named=bool(paths))
    page = manifest.input.page if page is None else page
    with (
        _named(predictor, paths, skip, page, metadata, id_column)
        if paths
        else pipeline.validation_images(bundle, predictor, count)
    ) as images:
        facts = explanation.explain(predictor, images, folder, method, about=about, check=check, pseudonyms=not paths)
    try:
        written = write_explanation_page(folder, phantom=manifest.phantom)
    except MissingExtraError as error:  # where models are served alone, the facts and pictures are there all the same
        warn(f"there is no page: {error}")
        written = folder / explanation.FACTS
    _report(facts, written, as_json=as_json)


@contextmanager
def _named(
    predictor: Predictor,
    paths: list[Path],
    skip: list[str] | None,
    page: int | None,
    table: Path | None,
    id_column: str | None,
) -> Iterator[Iterator[Seen | Unseen]]:
    """Open what was named, and answer it one by one."""
    from medloom.explanation import seen_files
    from medloom.imaging import FILE_BUDGET
    from medloom.inference.inputs import open_images
    from medloom.inference.metadata_files import read_metadata

    if table is None and id_column is not None:
        raise UserError("--id names a column of the table that --metadata names; give both")
    with open_images(paths, skip if skip is not None else ["*_mask.*"]) as images:
        if not images:
            raise DataError("there are no images in " + ", ".join(map(str, paths)))
        columns = predictor.metadata_columns
        if table is None and columns:
            warn(f"the model also takes {', '.join(columns)}; without --metadata they count as blank")
        found = None if table is None else read_metadata(table, images, columns, id_column=id_column)
        for warning in found.warnings if found else ():
            warn(warning)
        rows = found.rows if found else ()
        yield seen_files(replace(predictor, budget=FILE_BUDGET), images, rows, page=page)


def _report(facts: dict[str, Any], page: Path, *, as_json: bool) -> None:
    errors = [f"{one['image']}: {one['error']}" for one in facts["images"] if one["error"]]
    for text in few(errors):
        warn(text)
    done = counted(len(facts["images"]) - len(errors), "image")
    said = facts["check"].get("text", "")
    text = "\n".join([f"{done} explained by {facts['method']}; see {page}", *([said] if said else [])])
    print_result({**facts, "page": str(page)}, text, as_json=as_json)
    if errors:
        raise typer.Exit(ExitCode.SET_ASIDE)
