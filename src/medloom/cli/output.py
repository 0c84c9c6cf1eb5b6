"""What a command prints, and where: results to stdout, everything else to stderr.

Exit codes: 0 done, 1 the work failed, 2 the input was wrong, 3 done but some inputs were set aside,
130 stopped with Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

from medloom.errors import MedloomError

__all__ = ["ExitCode", "Progress", "fail", "print_result", "progress", "say", "table", "warn"]

Progress = Callable[[int, int], None]
"""Takes how many are done and how many there are in all."""

_PLAIN_INTERVAL_S = 10.0


class ExitCode(IntEnum):
    """What a command's exit status says."""

    DONE = 0
    FAILED = 1
    WRONG_INPUT = 2
    SET_ASIDE = 3
    STOPPED = 130


def say(text: str) -> None:
    """Print a message to stderr."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    say(f"{_coloured('warning:', '33')} {text}")


def fail(error: BaseException) -> ExitCode:
    """Print why a command could not go on, without a traceback, and return its exit code.

    Set the environment variable ``MEDLOOM_TRACEBACK=1`` to see the traceback as well.

    Args:
        error: A ``MedloomError``, or an ``OSError`` such as a full disk.

    Returns:
        The exit code for it.
    """
    if os.environ.get("MEDLOOM_TRACEBACK") == "1":
        traceback.print_exception(error)
    say(f"{_coloured('error:', '31')} {error}")
    return ExitCode(error.exit_code) if isinstance(error, MedloomError) else ExitCode.FAILED


def print_result(value: object, text: str, *, as_json: bool) -> None:
    """Print what a command found to stdout.

    Args:
        value: The result as plain JSON types, for programs.
        text: The same for people.
        as_json: True prints ``value`` as JSON, False prints ``text``.
    """
    print(json.dumps(value, indent=2) if as_json else text, flush=True)


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


@contextmanager
def progress(description: str) -> Iterator[Progress]:
    """Show how far long work has come: a bar on a terminal, a line now and then otherwise.

    Example:
        >>> with progress("decode") as update:
        ...     update(1, 2)
    """
    if not sys.stderr.isatty():
        yield _PlainProgress(description)
        return
    from rich.console import Console  # a tenth of a second that only long work on a terminal pays
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _PlainProgress:
    """One line at the end, and one every ten seconds before it."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._last_s = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if done < total and now_s - self._last_s < _PLAIN_INTERVAL_S:
            return
        self._last_s = now_s
        say(f"{self._description}: {done} of {total}")


def _coloured(text: str, code: str) -> str:
    plain = "NO_COLOR" in os.environ or not sys.stderr.isatty()
    return text if plain else f"\033[1;{code}m{text}\033[0m"
