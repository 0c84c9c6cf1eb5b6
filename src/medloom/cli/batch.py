"""``medloom batch``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medloom.cli.backend_option import BackendOption, OnOption, done_elsewhere
from medloom.cli.display import progress
from medloom.cli.options import DryRunOption, FormOption, JsonOption, StrictOption, form_files
from medloom.cli.output import ExitCode, print_result, say, warn
from medloom.cli.output import table as table_of
from medloom.cli.pace import PaceDisplay
from medloom.cli.serve_options import AllowUrlHostOption, AllowUrlNetworkOption, fetcher_of
from medloom.cli.verify import BundleArgument, ProvidersOption, RuntimeOption
from medloom.errors import UserError
from medloom.signals import StopRequest, Terminated

if TYPE_CHECKING:
    from medloom.inference import Predictor
    from medloom.packaging import Bundle, Manifest
    from medloom.serving.batch import Listing, Outcome
    from medloom.serving.batch.labelled import Labels

__all__ = ["command", "report"]

_Measured = tuple[Mapping[str, Any], Path]
"""A summary of metrics, and the page of the report."""

_Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT]...",
        help="Folders, zips, files; s3://BUCKET/PREFIX/; @FILE with a path or URI a line, - for stdin; CSV of files.",
    ),
]
_List = Annotated[Path | None, typer.Option("--list", metavar="FILE", help="A path or URI on each line; as @FILE.")]
_Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to, or to go on in.")]
_Skip = Annotated[
    list[str] | None,
    typer.Option("--skip", metavar="GLOB", help="Names in folders and zips to leave out [default: *_mask.*]."),
]
_Page = Annotated[int | None, typer.Option("--page", min=0, help="Page of files that have several, counted from 0.")]
_Series = Annotated[
    str | None,
    typer.Option("--series", metavar="[INDEX|UID]", help="Take each folder or zip as one DICOM series: a volume."),
]
_Metadata = Annotated[
    Path | None,
    typer.Option("--metadata", metavar="TABLE.csv", help="Metadata of files in folders and zips, by their names."),
]
_Id = Annotated[
    str | None,
    typer.Option("--id", metavar="COLUMN", help="Column of a CSV that names the file [default: the first]."),
]
_Uncertainty = Annotated[
    str | None,
    typer.Option(
        "--uncertainty",
        metavar="[entropy|mutual-information|variance]",
        help="Also write how uncertain each pixel of a mask is; entropy where no measure is named.",
    ),
]
_BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, max=1024, help="Images that go through the network together.")
]
_Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes that decode; default: one a core.")]
_Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of the network, all calls together; default: all cores.")
]
_Parquet = Annotated[bool, typer.Option("--parquet", help="Also write predictions.parquet.")]
_Overlays = Annotated[
    bool, typer.Option("--overlays/--no-overlays", help="Draw the outline of each mask on its image.")
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Remove another batch that DIR holds, and begin anew.")]
_RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try inputs again that have no prediction, though they did not change.")
]
_Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="PATH|COLUMN",
        help="Measure it too: CSV with labels, folder or zip with true masks, or a column of the CSV that is INPUT.",
    ),
]
_Targets = Annotated[
    list[str] | None, typer.Option("--target", metavar="COLUMN", help="With --labels: the column with the label.")
]
_Patient = Annotated[
    str | None, typer.Option("--patient", metavar="COLUMN", help="With --labels: the column with the patient.")
]
_Pattern = Annotated[
    str | None,
    typer.Option("--patient-pattern", metavar="REGEX", help="With --labels: finds the patient in a mask's name."),
]
_Groups = Annotated[
    list[str] | None, typer.Option("--group", metavar="COLUMN", help="With --labels: metrics by group, such as sex.")
]

_FETCHED_S = 60.0
"""Seconds for one URL."""

_STOPPED = {"SIGTERM": Terminated, "SIGINT": KeyboardInterrupt}


def command(
    bundle: BundleArgument,
    output: _Output,
    inputs: _Inputs = None,
    listed: _List = None,
    skip: _Skip = None,
    page: _Page = None,
    series: _Series = None,
    metadata: _Metadata = None,
    id_column: _Id = None,
    uncertainty: _Uncertainty = None,
    form: FormOption = None,
    batch_size: _BatchSize = 16,
    workers: _Workers = None,
    runtime: RuntimeOption = None,
    threads: _Threads = None,
    providers: ProvidersOption = None,
    labels: _Labels = None,
    target: _Targets = None,
    patient: _Patient = None,
    patient_pattern: _Pattern = None,
    group: _Groups = None,
    overlays: _Overlays = True,
    parquet: _Parquet = False,
    overwrite: _Overwrite = False,
    retry_failed: _RetryFailed = False,
    allow_url_host: AllowUrlHostOption = None,
    allow_url_network: AllowUrlNetworkOption = None,
    strict: StrictOption = False,
    backend: BackendOption = "local",
    on: OnOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    context: typer.Context = None,  # type: ignore[assignment]  # Typer hands it over
) -> None:
    """Predict any number of files; a batch that was stopped goes on where it was.

    Writes what medloom predict writes: masks/ and overlays/ of a bundle for segmentation, and predictions.csv in the
    order of the inputs. journal.jsonl says what is finished: after a kill or a power cut the same command does the
    rest, and once all is done it changes nothing. batch.json says of which bundle and options it is; others are
    refused in the same folder, unless --overwrite.

    Files are decoded in processes of their own, so that none can end or hang the batch. A bad one is recorded with its
    reason in the columns error and code and the rest go on; the exit code is then 3.

    Buckets on S3 are read with the credentials and the region that boto3 finds (extra aws); https:// URLs of a list
    only from hosts that --allow-url-host names.

    An input is the same as before while its name, size and time of change (ETag) are. Memory does not grow with the
    number of inputs but for 40 bytes of each; only --metadata and bundles with data.context hold the list of all.

    --labels measures the answers when all are there, as medloom evaluate --labels does: evaluation/ has metrics with
    intervals, a table of the cases and a report. What has no label or no prediction is left out and counted.

    With --backend sagemaker one folder or zip is predicted in a job there; see medloom sagemaker batch.
    """
    from medloom.cli.sagemaker_batch import BEHIND

    if done_elsewhere(context, backend, on, dry_run=dry_run, behind=BEHIND):
        return
    from medloom.serving.batch import Batch, run_batch

    if series is not None and page is not None:
        raise UserError("--series takes every slice and --page takes one page; give one of them")
    named = [*(inputs or ()), *([f"@{listed}"] if listed else [])]
    if not named:
        raise UserError("nothing was named; expected folders, zips, files, @LIST, - or a CSV that names files")
    predictor, calls, of, manifest = _opened(bundle, runtime, threads, providers, strict)
    phantom, own_page, forms = manifest.phantom, manifest.input.page, form_files(form, manifest)
    truth = _truth(predictor, named, labels, id_column, target, patient, group, patient_pattern)
    asked = "" if uncertainty is None else uncertainty or "entropy"
    more = {} if workers is None else {"workers": workers}
    wanted = own_page if page is None else page
    batch = Batch(wanted, asked, batch_size, calls=calls, parquet=parquet, forms=forms, overlays=overlays, **more)
    fetch = _fetch(allow_url_host, allow_url_network)
    stop = StopRequest(waits_for="what is under way")
    listed_as = _listing(predictor, named, skip, series, metadata, id_column, fetch)
    with listed_as as listing, stop, PaceDisplay(as_json=as_json) as watch:
        made = run_batch(
            predictor,
            listing,
            output,
            batch,
            {**of, "series": series},
            overwrite=overwrite,
            retry=retry_failed,
            is_wanted=lambda: not stop.requested,
            watch=watch,
        )
    if not made.finished:
        say(f"{made.done:,} inputs are done and kept; the same command goes on with the others")
        raise _STOPPED.get(stop.reason or "", KeyboardInterrupt)
    report(made, output, _measured(output, predictor, truth), phantom=phantom, as_json=as_json)


def _opened(
    bundle: Path, runtime: str | None, threads: int | None, providers: Sequence[str] | None, strict: bool
) -> tuple[Predictor, int, dict[str, Any], Manifest]:
    """The predictor, how often it is asked at a time, what decides its answers, and the manifest of the bundle."""
    from medloom.imaging import FILE_BUDGET
    from medloom.packaging import read_bundle
    from medloom.serving.batch.rounds import shared_out

    with read_bundle(bundle) as opened:
        calls, each = shared_out(runtime or opened.manifest.runtime, threads, providers)
        predictor = opened.predictor(runtime=runtime, threads=each, providers=providers)
        of = {**_identity(opened), "runtime": predictor.runtime.name, "providers": providers, "strict": strict}
        manifest = opened.manifest
    return replace(predictor, budget=FILE_BUDGET, strict=strict), calls, of, manifest


def _identity(bundle: Bundle) -> dict[str, Any]:
    from medloom import __version__
    from medloom.files import sha256_file
    from medloom.packaging.bundle import MANIFEST

    name, digest = bundle.manifest.name, sha256_file(bundle.folder / MANIFEST)
    return {"bundle": name, "bundle_sha256": digest, "medloom": __version__}


@contextmanager
def _listing(
    predictor: Predictor,
    named: Sequence[str],
    skip: list[str] | None,
    series: str | None,
    table: Path | None,
    id_column: str | None,
    fetch: Callable[[str], bytes] | None,
) -> Iterator[Listing]:
    from medloom.serving.batch.listing import opened_listing

    columns = predictor.metadata_columns
    skipped = skip if skip is not None else ["*_mask.*"]
    with opened_listing(
        named, skip=skipped, series=series, columns=columns, id_column=id_column, fetch=fetch
    ) as listing:
        yield listing if table is None else _joined(listing, table, columns, id_column)


def _fetch(hosts: Sequence[str] | None, networks: Sequence[str] | None) -> Callable[[str], bytes] | None:
    """What fetches URLs, where hosts are allowed: within the limits of files, for nobody else names them."""
    if not hosts and not networks:
        return None
    from medloom.imaging import FILE_BUDGET
    from medloom.serving import Limits
    from medloom.serving.batch.urls import fetch_from

    fetcher = fetcher_of(hosts, networks, Limits())
    return fetch_from(replace(fetcher, max_bytes=FILE_BUDGET.max_bytes, timeout_s=_FETCHED_S))


def _joined(listing: Listing, table: Path, columns: Sequence[str], id_column: str | None) -> Listing:
    """The listing with the rows of a table; all of it is then held in memory."""
    from medloom.inference.metadata_files import read_metadata
    from medloom.serving.batch import Listing

    images = [entry for entry, _ in listing.entries()]
    found = read_metadata(table, images, columns, id_column=id_column)
    for text in found.warnings:
        warn(text)
    return Listing(lambda: zip(images, found.rows, strict=True))


def _truth(
    predictor: Predictor,
    named: Sequence[str],
    labels: str | None,
    id_column: str | None,
    targets: list[str] | None,
    patient: str | None,
    groups: list[str] | None,
    pattern: str | None,
) -> Labels | None:
    """What --labels names: a path, or a column of the CSV that names the inputs."""
    if labels is None:
        if targets or patient or groups or pattern:
            raise UserError("--target, --patient, --patient-pattern and --group say how --labels is read; give it too")
        return None
    from medloom.serving.batch.labelled import Labels
    from medloom.serving.batch.listing import TABLES, id_column_of

    path, columns = Path(labels), tuple(targets or ())
    tables = [Path(one) for one in named if one.lower().endswith(TABLES)]
    if not path.exists() and len(tables) == 1:
        path, columns = tables[0], (labels,)
    if path in tables:
        id_column = id_column_of(path, id_column)
    found = Labels(path, id_column, columns, patient, tuple(groups or ()), pattern)
    found.check(predictor.target)
    return found


def _measured(output: Path, predictor: Predictor, labels: Labels | None) -> _Measured | None:
    if labels is None:
        return None
    from medloom.serving.batch.labelled import measure

    with progress("evaluate") as update:
        summary, page = measure(output, predictor.target, labels, update)
    for text in summary["warnings"]:
        warn(text)
    return summary, page


def report(made: Outcome, output: Path, measured: _Measured | None, *, phantom: bool, as_json: bool) -> None:
    """Say what a batch has made, and end with exit code 3 if some inputs have no prediction.

    Args:
        made: What it has made.
        output: Its folder.
        measured: What its answers are worth, where that was measured.
        phantom: Whether the model learned from phantoms.
        as_json: Whether the result is printed as JSON.
    """
    from medloom.inference.writers import TABLE

    result, table = made.result, output / TABLE
    for text in result["warnings"]:
        warn(text)
    codes = ", ".join(f"{count:,} {code}" for code, count in result["codes"].items())
    if codes:
        warn(f"{result['failed']:,} have no prediction: {codes}; why is in the column error of {table}")
    value = {**result, "now": made.now, "seconds": round(made.seconds, 3), "phantom": phantom, "table": str(table)}
    good = result["results"] - result["failed"]
    text = f"{good:,} of {result['results']:,} images predicted{result['text']}; see {table}"
    if made.now < made.done:
        text += f"\n{made.done - made.now:,} of {made.done:,} inputs were done before."
    if phantom:
        text += "\nThe model learned from phantoms: these predictions mean nothing for people."
    if measured is not None:
        from medloom.evaluation import metric_rows

        summary, page = measured
        value["evaluation"] = summary
        text += f"\n{table_of(metric_rows(summary))}\nReport: {page}"
    print_result(value, text, as_json=as_json)
    if result["failed"]:
        raise typer.Exit(ExitCode.SET_ASIDE)
