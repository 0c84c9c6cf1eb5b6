"""Where all problems are listed of which a message shows a few."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from medloom.errors import DataError
from medloom.files import write_text

__all__ = ["PROBLEMS", "list_problems", "problems_listed"]

PROBLEMS = "problems.txt"
"""One line for each problem with a file; like the catalogue it names files, and belongs to the run alone."""


def list_problems(folder: Path, problems: Sequence[str]) -> Path:
    """Write every problem into a folder.

    Returns:
        The file.
    """
    path = folder / PROBLEMS
    write_text(path, "".join(f"{' '.join(problem.split())}\n" for problem in problems))
    return path


@contextlib.contextmanager
def problems_listed(folder: Path) -> Iterator[None]:
    """List in a folder the problems of an error whose message cannot show all of them."""
    try:
        yield
    except DataError as error:
        if error.left_out:
            with contextlib.suppress(OSError):  # what is wrong is said all the same
                error.listed_in = str(list_problems(folder, error.problems))
        raise
