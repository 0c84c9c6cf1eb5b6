"""What a command prints, and where: results to stdout, everything else to stderr.

Exit codes: 0 done, 1 the work failed, 2 the input was wrong, 3 done but some inputs were set aside,
130 stopped with Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum

from medloom.errors import MedloomError, UserError

__all__ = ["ExitCode", "confirmed", "fail", "print_result", "say", "table", "warn"]


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


def _coloured(text: str, code: str) -> str:
    plain = "NO_COLOR" in os.environ or not sys.stderr.isatty()
    return text if plain else f"\033[1;{code}m{text}\033[0m"
