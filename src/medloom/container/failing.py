"""What a failed job says: one text for SageMaker and the log, in plain words and without anything of a patient."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Collection
from pathlib import Path

from medloom.cli.output import say
from medloom.errors import DataError, MedloomError, NonFiniteLossError
from medloom.files import is_disk_full, write_text
from medloom.memory import ADVICE, is_out_of_memory
from medloom.wording import counted

__all__ = ["MOST_CHARACTERS", "exit_code_of", "failure_text", "say_failure", "where_it_failed"]

MOST_CHARACTERS = 1024
"""SageMaker shows no more of it."""

_FAILED, _DISK_FULL = 1, 74


def failure_text(error: BaseException, folders: Collection[Path] = ()) -> str:
    """Return why a job failed, in at most ``MOST_CHARACTERS``.

    Files of the images are counted, not named: their names may be those of patients.

    Args:
        error: What was raised.
        folders: Where the images are; what lies below is not named.
    """
    text = _text(error)
    for folder in sorted(map(str, folders), key=len, reverse=True):
        text = _without_names(text, f"{folder}/")
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."


def say_failure(text: str, file: Path) -> None:
    """Write why a job failed to where SageMaker looks, and to the log.

    Args:
        text: As ``failure_text`` returned it.
        file: ``/opt/ml/output/failure``.
    """
    say(f"error: {text}")
    try:
        write_text(file, text)
    except (OSError, MedloomError) as error:
        say(f"error: the reason could not be written to {file}: {_reason(error)}")


def exit_code_of(error: BaseException) -> int:
    """Return the exit code: 2 for a wrong input, 74 for a full disk, else 1."""
    if isinstance(error, MedloomError):
        return error.exit_code
    return _DISK_FULL if is_disk_full(error) else _FAILED


def where_it_failed(error: BaseException) -> str:
    """Return the traceback of an error of Medloom's own without its message, which may hold anything."""
    return f"{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}"


def _text(error: BaseException) -> str:
    if isinstance(error, DataError):
        more = f" ({counted(len(error.problems), 'problem')}; problems.txt in output.tar.gz lists them)"
        return f"{error.summary}{more if error.problems else ''}"
    if isinstance(error, NonFiniteLossError):
        return (
            f"the loss of step {error.step} is not finite, and the weights were not changed by it; lower "
            f"train.optimizer.lr, or look at the {counted(len(error.sample_ids), 'sample')} of that step"
        )
    if is_out_of_memory(error) and not isinstance(error, MedloomError):
        return f"out of memory; take a larger instance, or {ADVICE}"
    if isinstance(error, MedloomError):
        return str(error)
    if isinstance(error, OSError):
        return _reason(error)
    return f"an error of Medloom itself ({type(error).__name__}); the log says where, and it is worth a report"


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    full = "; give the job a larger volume" if is_disk_full(error) else ""
    return f"{os.strerror(number) if number else type(error).__name__}{full}"


def _without_names(text: str, folder: str) -> str:
    """Put three dots in the place of what is named below a folder, up to the next colon, semicolon or line."""
    return re.sub(rf"{re.escape(folder)}[^:;\n]+", f"{folder}...", text)
