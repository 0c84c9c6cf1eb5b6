"""What a command prints, and where: results to stdout, everything else to stderr.

Exit codes: 0 done, 1 the work failed, 2 the input was wrong, 3 done but some inputs were set aside, 4 the images are
others than those of the training (``medloom drift`` alone), 74 the disk is full, 130 stopped with Ctrl-C and 143 with
SIGTERM before anything was finished.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from medloom.errors import MedloomError, UserError
from medloom.files import cache_dir, is_disk_full
from medloom.memory import ADVICE, is_out_of_memory
from medloom.wording import one_line

__all__ = [
    "ExitCode",
    "confirmed",
    "fail",
    "message_line",
    "messages_for_people",
    "print_result",
    "say",
    "table",
    "tell_as",
    "warn",
]


class ExitCode(IntEnum):
    """What a command's exit status says."""

    DONE = 0
    FAILED = 1
    WRONG_INPUT = 2
    SET_ASIDE = 3
    DRIFT = 4
    DISK_FULL = 74
    STOPPED = 130
    TERMINATED = 143


@contextmanager
def messages_for_people() -> Iterator[None]:
    """Let what a command chose with ``tell_as`` end with the block."""
    before = len(_forms)
    try:
        yield
    finally:
        del _forms[before:]


def tell_as(form: Callable[[str, str], str]) -> None:
    """Write messages in another form from now on, until this command is over.

    Args:
        form: Makes a line of a level (``info``, ``warning`` or ``error``) and a text.
    """
    _forms.append(form)


def message_line(level: str, text: str) -> str:
    """Return a message as it is written to stderr, without the end of the line."""
    return _forms[-1](level, text)


def say(text: str) -> None:
    """Print a message to stderr."""
    _tell("info", text)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    _tell("warning", text)


def _tell(level: str, text: str) -> None:
    print(message_line(level, text), file=sys.stderr, flush=True)


def fail(error: BaseException) -> ExitCode:
    """Print why a command could not go on, without a traceback, and return its exit code.

    Set the environment variable ``MEDLOOM_TRACEBACK=1`` to see the traceback as well.

    Args:
        error: A ``MedloomError``, or what a library raised, such as an ``OSError`` of a full disk.

    Returns:
        The exit code for it.
    """
    if os.environ.get("MEDLOOM_TRACEBACK") == "1":
        traceback.print_exception(error)
    _tell("error", f"{_no_memory(error) or error}{_room(error)}")
    if isinstance(error, MedloomError):
        return ExitCode(error.exit_code)
    return ExitCode.DISK_FULL if is_disk_full(error) else ExitCode.FAILED


def _no_memory(error: BaseException) -> str:
    """Say what to do where a library says only that memory ran out, or nothing."""
    if isinstance(error, MedloomError) or not is_out_of_memory(error):
        return ""
    said = one_line(str(error))
    return f"out of memory{f' ({said})' if said else ''}; close other programs, or {ADVICE}"


def _room(error: BaseException) -> str:
    """Say how much room there is, where a library says only that there is none."""
    if isinstance(error, MedloomError) or not is_disk_full(error):
        return ""
    places = {"here": Path.cwd(), "in the cache": cache_dir()}
    free = [f"{shutil.disk_usage(path).free:,} bytes are free {name}" for name, path in places.items() if path.is_dir()]
    return f"; {' and '.join(free)}. Make room and give the same command again"


def print_result(value: object, text: str, *, as_json: bool) -> None:
    """Print what a command found to stdout.

    Args:
        value: The result as plain JSON types, for programs.
        text: The same for people.
        as_json: True prints ``value`` as JSON, False prints ``text``.
    """
    print(json.dumps(value, indent=2) if as_json else text, flush=True)


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask on the terminal before something is removed.

    Args:
        question: What is to happen.
        yes: It was agreed to on the command line.

    Raises:
        UserError: If there is no terminal to ask on.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{question} There is no terminal to ask on; --yes agrees")
    import typer  # only where something is asked

    return typer.confirm(question, err=True)


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Lay out rows of text in aligned columns.

    Example:
        >>> print(table([("a", "one"), ("bcd", "two")]))
          a    one
          bcd  two
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join((indent + line).rstrip() for line in lines)


def _for_people(level: str, text: str) -> str:
    """Begin a warning and an error with that word, in colour on a terminal."""
    if level not in _COLOURS:
        return text
    plain = "NO_COLOR" in os.environ or not sys.stderr.isatty()
    return f"{level}: {text}" if plain else f"\033[1;{_COLOURS[level]}m{level}:\033[0m {text}"


_COLOURS = {"warning": "33", "error": "31"}
_forms: list[Callable[[str, str], str]] = [_for_people]
"""How messages are written: the last one counts."""
