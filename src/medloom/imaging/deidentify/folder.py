"""A file or a folder of DICOM files in, a new folder of pseudonyms out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medloom.errors import DataError, DecodeError, UserError
from medloom.files import write_bytes
from medloom.imaging.deidentify.cleaning import DEFAULT_FILE_BUDGET, Deidentifier

__all__ = ["Outcome", "deidentify_files"]


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Args:
        number: The file's place, counted from 1, among the input's files in the order of their relative paths.
            Paths often name patients, so they are not repeated.
        output: Path below the output folder; "" if it was not exported.
        reason: Why it was not exported; "" if it was.
        unseen: Whether it was exported although its pixels cannot be decoded, so that nothing looked for text in them.
    """

    number: int
    output: str = ""
    reason: str = ""
    unseen: bool = False


def deidentify_files(
    source: Path,
    output: Path,
    *,
    allow_burned_in: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Outcome]:
    """De-identify a DICOM file, or all files below a folder; what cannot be exported is said and the rest go on.

    UIDs and patient IDs get the same pseudonym in all files of one call, and others in the next call.

    Args:
        source: A file or a folder; links are not followed.
        output: A folder that is empty or does not exist, outside ``source``.
        allow_burned_in: Export also images that may have text in their pixels, and look at none.
        progress: Called with how many are done and how many there are.

    Returns:
        One outcome for each file, in order.

    Raises:
        DataError: If ``source`` is missing or holds no files, or ``output`` is in use.
    """
    files = _files(source)
    _check_output(source, output)
    cleaner, taken, outcomes = Deidentifier(allow_burned_in=allow_burned_in), set[str](), list[Outcome]()
    for number, path in enumerate(files, start=1):
        outcomes.append(_one(cleaner, path, output, number, taken))
        if progress:
            progress(number, len(files))
    return outcomes


def _one(cleaner: Deidentifier, path: Path, output: Path, number: int, taken: set[str]) -> Outcome:
    try:
        cleaned = cleaner.clean(_read(path))
    except UserError as error:
        return Outcome(number, reason=str(error))
    except OSError as error:
        return Outcome(number, reason=f"the file cannot be read ({type(error).__name__})")
    if cleaned.name in taken:
        return Outcome(number, reason="another file has the same instance UID; the first one was exported")
    taken.add(cleaned.name)
    write_bytes(output / cleaned.name, cleaned.data)
    return Outcome(number, output=cleaned.name, unseen=cleaned.unseen)


def _read(path: Path) -> bytes:
    if path.stat().st_size > DEFAULT_FILE_BUDGET.max_bytes:
        raise DecodeError("too_large", f"the file is longer than {DEFAULT_FILE_BUDGET.max_bytes} bytes")
    return path.read_bytes()


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError("the input is neither a file nor a folder")
    found = [path for path in source.rglob("*") if path.is_file() and not path.is_symlink()]
    if not found:
        raise DataError("there are no files in the input folder")
    return sorted(found, key=lambda path: path.relative_to(source).as_posix())


def _check_output(source: Path, output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is in use; name a folder that is empty or does not exist")
    if source.is_dir() and output.resolve().is_relative_to(source.resolve()):
        raise DataError("the output folder lies in the input folder; name one outside")
