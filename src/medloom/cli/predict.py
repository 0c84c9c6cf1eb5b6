"""``medloom predict``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.display import progress
from medloom.cli.options import FormOption, JsonOption, StrictOption, form_files
from medloom.cli.output import ExitCode, print_result, warn
from medloom.cli.remote import There, check_options, there
from medloom.cli.verify import ProvidersOption, RuntimeOption
from medloom.errors import DataError, UserError
from medloom.wording import few

if TYPE_CHECKING:
    from medloom.inference import Predictor
    from medloom.inference.inputs import Entry
    from medloom.inference.metadata import Metadata
    from medloom.inference.writers import FormFiles, Outcome
    from medloom.packaging import Manifest

__all__ = ["command"]


def command(
    arguments: Annotated[
        list[Path],
        typer.Argument(
            metavar="[BUNDLE] PATH...",
            help="A model.tar.gz, its folder, or a run that has one (with --server none of these), and images, "
            "volumes, folders and zips.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.")],
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="GLOB", help="Names in folders and zips to leave out [default: *_mask.*]."),
    ] = None,
    page: Annotated[
        int | None, typer.Option("--page", min=0, help="Page of files that have several, counted from 0.")
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(
            "--series",
            metavar="[INDEX|UID]",
            help="Take each folder or zip as one DICOM series: a volume. With several in it, which one.",
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option("--metadata", metavar="TABLE.csv", help="Metadata of the images, for models that take some."),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="Column of the table with the image's name [default: the first]."),
    ] = None,
    uncertainty: Annotated[
        str | None,
        typer.Option(
            "--uncertainty",
            metavar="[entropy|mutual-information|variance]",
            help="Also write how uncertain each pixel of a mask is; entropy where no measure is named.",
        ),
    ] = None,
    form: FormOption = None,
    runtime: RuntimeOption = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Threads; default: all cores.")] = None,
    providers: ProvidersOption = None,
    strict: StrictOption = False,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="Ask this server, or sagemaker://NAME; then no BUNDLE is named."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="File with the token that the server wants.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Which model, of a server that has several.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Segment or classify files, folders and zips with a bundle.

    A bundle for segmentation writes masks/ (PNG in the size of the image), overlays/ and predictions.csv. A NIfTI
    file, an enhanced DICOM file, or with --series a folder of DICOM slices, is a volume: its mask is a NIfTI file of
    the same geometry. Masks hold the values that the recipe's target.mask_values gives the classes.

    --uncertainty also writes uncertainty/: 255 (of a volume 1.0) where the answer is most uncertain. The image and its
    mirror image are looked at, or all views of the model, by each network of an ensemble.

    --form also writes each answer in further forms, each in a folder of its own: seg/ and sr/ hold a DICOM segmentation
    and a report with the measurements for DICOM images, in the study of these. medloom serve gives the same ones.

    A bundle with data.context sees each slice with those beside it: they are the pages of a file, or are looked for in
    its folder, by place or number.

    A bundle for classification writes predictions.csv with a row for each image, or for each page of a file: the
    probability of each class and the decision. Some take metadata with the image: --metadata names a CSV with a row
    for each image, called as its file with or without folder and extension.

    An image or metadata unlike those of the training are answered with a warning, in the table as well, and with
    --strict refused.

    --server asks a medloom serve for the answers instead of a bundle, and writes the same files.

    A bad file is reported and the rest go on; the exit code is then 3.
    """
    from medloom.inference.inputs import open_images

    if series is not None and page is not None:
        raise UserError("--series takes every slice and --page takes one page; give one of them")
    elsewhere = {"--token-file": token_file is not None, "--model": model is not None}
    here = {
        "--uncertainty": uncertainty is not None,
        "--runtime": runtime is not None,
        "--threads": threads is not None,
        "--provider": bool(providers),
        "--strict": strict,
    }
    check_options(elsewhere if server is None else here, server=server)
    paths = arguments if server is not None else arguments[1:]
    if not paths:
        raise UserError(f"no images are named; name files, folders or zips behind the bundle {arguments[0]}")
    chosen: AbstractContextManager[There | _Here] = (
        _here(arguments[0], runtime, threads, providers, form, uncertainty, strict=strict)
        if server is None
        else there(server, token_file, model, form or (), metadata=metadata is not None)
    )
    with chosen as asked, open_images(paths, skip if skip is not None else ["*_mask.*"], series=series) as images:
        if not images:
            raise DataError("there are no images in " + ", ".join(map(str, paths)))
        rows = _metadata(asked.columns, images, metadata, id_column)
        with progress("predict") as update:
            outcome = asked.predict(images, rows, output, page, update)
    _report(outcome, output, as_json=as_json)


@dataclass(frozen=True)
class _Here:
    """A model that runs on this machine."""

    predictor: Predictor
    manifest: Manifest
    forms: FormFiles | None
    uncertainty: str

    @property
    def columns(self) -> Sequence[str]:
        return self.predictor.metadata_columns

    def predict(
        self,
        images: Sequence[Entry],
        metadata: Sequence[Metadata],
        folder: Path,
        page: int | None,
        progress: Callable[[int, int], None],
    ) -> Outcome:
        from medloom.inference.writers import Outcome
        from medloom.serving.batch import predict_files

        results = predict_files(
            self.predictor,
            images,
            folder,
            metadata=metadata,
            page=self.manifest.input.page if page is None else page,
            uncertainty=self.uncertainty,
            forms=self.forms,
            progress=progress,
        )
        return Outcome(results, self.manifest.target, self.manifest.phantom)


@contextmanager
def _here(
    bundle: Path,
    runtime: str | None,
    threads: int | None,
    providers: list[str] | None,
    form: list[str] | None,
    uncertainty: str | None,
    *,
    strict: bool,
) -> Iterator[_Here]:
    from medloom.imaging import FILE_BUDGET
    from medloom.packaging import read_bundle
    from medloom.pipeline import bundle_of

    with read_bundle(bundle_of(bundle)) as opened:
        manifest = opened.manifest
        predictor = opened.predictor(runtime=runtime, threads=threads, providers=providers)
        predictor = replace(predictor, budget=FILE_BUDGET, strict=strict)
    forms = form_files(form, manifest)
    if other := manifest.runtime_warning(runtime):
        warn(other)
    yield _Here(predictor, manifest, forms, "" if uncertainty is None else uncertainty or "entropy")


def _metadata(
    columns: Sequence[str], images: Sequence[Entry], table: Path | None, id_column: str | None
) -> tuple[dict[str, str], ...]:
    """Read the table, or say what the model would take."""
    if table is None:
        if id_column is not None:
            raise UserError("--id names a column of the table that --metadata names; give both")
        if columns:
            warn(f"the model also takes {', '.join(columns)}; without --metadata they count as blank")
        return ()
    from medloom.inference.metadata_files import read_metadata

    found = read_metadata(table, images, columns, id_column=id_column)
    for warning in found.warnings:
        warn(warning)
    return found.rows


def _report(outcome: Outcome, output: Path, *, as_json: bool) -> None:
    from medloom.inference.writers import TABLE, summary

    results, phantom = outcome.results, outcome.phantom
    found = summary(outcome.target, results)
    bad = [result for result in results if result.error]
    table = output / TABLE
    errors = [f"{result.file}: {result.error}" for result in bad]
    shown = few(errors)
    more = [f"and {len(errors) - len(shown):,} more, see {table}"] if len(shown) < len(errors) else []
    for text in (*shown, *more, *found.warnings):
        warn(text)
    value = {
        "images": len(results),
        **found.counts,
        "failed": len(bad),
        "phantom": phantom,
        "table": str(table),
        "results": [result.plain() for result in results],
    }
    text = f"{len(results) - len(bad)} of {len(results)} images predicted{found.text}; see {table}"
    if phantom:
        text += "\nThe model learned from phantoms: these predictions mean nothing for people."
    print_result(value, text, as_json=as_json)
    if bad:
        raise typer.Exit(ExitCode.SET_ASIDE)
