"""``medloom inspect``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.display import progress
from medloom.cli.options import JsonOption
from medloom.cli.output import ExitCode, print_result, table
from medloom.errors import DataError
from medloom.wording import counted

if TYPE_CHECKING:
    from medloom.imaging.inspection import CollectionFacts, FileFacts

__all__ = ["command"]

_SHOWN_SERIES = 20


def command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="An image, a folder or a zip.", exists=True)],
    as_json: JsonOption = False,
) -> None:
    """Say what images are, and what would be refused and why.

    Prints format, size, type, pages, range of values, spacing and modality, and whether the slices of each DICOM series
    make a volume; and no name, identifier, date or path. The exit code is 3 if a file would be refused.
    """
    from medloom.data.sources import is_zip
    from medloom.imaging import FILE_BUDGET
    from medloom.imaging.inspection import inspect_data

    name = path.resolve().name
    if path.is_file() and not is_zip(path):
        facts = inspect_data(_read(path, FILE_BUDGET.max_bytes), budget=FILE_BUDGET)
        text = f"{name}: {'refused: ' + facts.reason if facts.refused else 'decodes'}"
        print_result({"name": name, **asdict(facts)}, "\n".join([text, *_file_lines(facts)]), as_json=as_json)
        refused = bool(facts.refused)
    else:
        found = _collection(path)
        text = "\n".join([f"{name}: {counted(found.files, 'file')}", *_collection_lines(found)])
        print_result({"name": name, **asdict(found)}, text, as_json=as_json)
        refused = bool(found.refused)
    if refused:
        raise typer.Exit(ExitCode.SET_ASIDE)


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as handle:
        return handle.read(most + 1)


def _collection(path: Path) -> CollectionFacts:
    from medloom.data.opening import open_source
    from medloom.imaging import FILE_BUDGET
    from medloom.imaging.inspection import inspect_many

    try:
        source = open_source(path)
    except DataError as error:  # the problems of an archive name its entries
        raise DataError(error.summary) from error
    with source, progress("inspect") as update:
        names = source.names()
        if not names:
            raise DataError("there are no files in it; expected images")
        readers = (partial(source.read, name) for name in names)
        return inspect_many(readers, budget=FILE_BUDGET, progress=lambda done: update(done, len(names)))


def _file_lines(facts: FileFacts) -> Iterator[str]:
    rows = list(_rows(facts))
    if rows:
        yield table(rows)
    for note in facts.notes:
        yield f"  note: {note}"


def _rows(facts: FileFacts) -> Iterator[tuple[str, str]]:
    if facts.format:
        yield "format", facts.format
    if facts.pages:
        yield "size", _size(facts)
        yield "type", facts.dtype
        yield "pages", str(facts.pages)
    if facts.minimum is not None:
        yield "values", _range(facts)
    if facts.pages:
        yield "spacing", _spacing(facts) or "unknown"
    if facts.modality:
        yield "modality", facts.modality
    if facts.transfer_syntax:
        yield "transfer syntax", facts.transfer_syntax


def _collection_lines(found: CollectionFacts) -> Iterator[str]:
    if found.kinds:
        head = ("files", "format", "size", "type", "pages", "values", "spacing", "modality")
        rows = [_kind_row(kind.count, kind.facts) for kind in found.kinds]
        yield table([head, *rows])
    if found.series:
        yield f"{len(found.series)} DICOM series"
        alike = Counter((item.slices, f"no: {item.no_volume}" if item.no_volume else "yes") for item in found.series)
        rows = [(str(count), str(slices), volume) for (slices, volume), count in alike.items()]
        yield table([("series", "slices", "a volume"), *rows[:_SHOWN_SERIES]])
        if len(rows) > _SHOWN_SERIES:
            yield f"  and {len(rows) - _SHOWN_SERIES} more kinds of series"
    if found.refused:
        yield f"{sum(item.count for item in found.refused)} would be refused"
        yield table([(str(item.count), item.code, item.reason) for item in found.refused])


def _kind_row(count: int, facts: FileFacts) -> tuple[str, ...]:
    modality = " ".join(part for part in (facts.modality, facts.transfer_syntax) if part)
    return (
        str(count), facts.format, _size(facts), facts.dtype, str(facts.pages), _range(facts), _spacing(facts) or "-",
        modality or "-",
    )  # fmt: skip


def _size(facts: FileFacts) -> str:
    return f"{facts.height}×{facts.width}" + (f"×{facts.channels}" if facts.channels > 1 else "")


def _range(facts: FileFacts) -> str:
    return f"{facts.minimum:g} to {facts.maximum:g}" if facts.minimum is not None else "-"


def _spacing(facts: FileFacts) -> str:
    return f"{facts.spacing_mm[0]:g}×{facts.spacing_mm[1]:g} mm" if facts.spacing_mm else ""
