"""A few files at once, whose results are all held in memory: ``medloom predict``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from medloom.errors import UserError
from medloom.files import flush_files
from medloom.inference.inputs import Entry
from medloom.inference.metadata import Metadata
from medloom.inference.predictor import Predictor
from medloom.inference.siblings import with_siblings
from medloom.inference.writers import KINDS, TABLE, Asked, FileResult, FormFiles, check_uncertainty
from medloom.serving.batch.names import Names
from medloom.serving.batch.tables import PARQUET, widen, write_parquet, write_table
from medloom.serving.batch.work import BATCH_SIZE, Input, each_piece
from medloom.targets import Target

__all__ = ["inputs_of", "predict_files", "write_results"]


def predict_files(
    predictor: Predictor,
    images: Sequence[Entry],
    folder: Path,
    *,
    metadata: Sequence[Metadata] = (),
    page: int | None = None,
    uncertainty: str = "",
    forms: FormFiles | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[FileResult]:
    """Predict images and write what belongs to the kind of answer, and ``predictions.csv``.

    Args:
        predictor: The model.
        images: What to predict.
        folder: Where to write.
        metadata: Values by column, one for each image; empty where nothing is known of any.
        page: Page of files that have several; None predicts all slices of a volume, and for labels each page.
        uncertainty: How uncertain each pixel of a mask is, a name of ``medloom.registry.UNCERTAINTIES``; empty writes
            nothing of it.
        forms: Further forms of each answer that are written, in a folder each beside the masks and the table.
        progress: Called with how many are done and how many there are.

    Returns:
        One result for each image or page, in order; a bad one has an ``error``.

    Raises:
        UserError: If there is no such uncertainty or form for such an answer.
    """
    check_uncertainty(uncertainty, predictor.target)
    if forms is not None:
        forms.check(predictor.target)
    writer, rows = KINDS[predictor.target.kind], list(metadata) or [{}] * len(images)
    known = with_siblings(predictor, images, rows) if page is None else images
    asked = Asked(predictor, folder, page, uncertainty, forms)
    found: dict[int, Sequence[FileResult]] = {}
    inputs = inputs_of(zip(known, rows, strict=True), named=writer.writes_files or forms is not None)
    for piece in each_piece(asked, inputs, batch_size=BATCH_SIZE):
        for done in piece:
            found[done.input.number] = done.results
            if progress:
                progress(len(found), len(images))
    results = [result for number in range(len(images)) for result in found[number]]
    write_results(results, predictor.target, folder)
    return results


def write_results(results: Sequence[FileResult], target: Target, folder: Path, *, parquet: bool = False) -> None:
    """Write ``predictions.csv``.

    Args:
        results: A row each.
        target: What was predicted.
        folder: Where to write.
        parquet: Whether ``predictions.parquet`` is written, too.
    """
    writer, kinds = KINDS[target.kind], dict[str, type]()
    cells = [writer.row(result, target) for result in results]
    for row in cells:
        widen(kinds, {name: value for name, value in row.items() if value not in ("", None)})
    columns = writer.columns(target, kinds.keys())
    write_table(folder / TABLE, columns, cells)
    if parquet:
        write_parquet(folder / PARQUET, {name: kinds.get(name, str) for name in columns}, cells)
    flush_files(folder)


def inputs_of(given: Iterable[tuple[Entry, Metadata]], *, named: bool) -> Iterator[Input]:
    """Number inputs, give their files names, and see of which state they are.

    Args:
        given: Inputs with their metadata.
        named: Whether files are written of each, which need a name of their own.
    """
    names = Names() if named else None
    for number, (entry, metadata) in enumerate(given):
        stamp, name, problem = "", "", None
        try:
            stamp = entry.stamp()
            name = names.give(entry.stem) if names else ""
        except (UserError, OSError) as error:
            problem = error
        yield Input(number, entry, metadata, name, stamp, problem)
