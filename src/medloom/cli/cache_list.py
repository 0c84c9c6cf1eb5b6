"""``medloom cache list``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medloom import pipeline
from medloom.cli.options import RUNS, JsonOption, RunsOption
from medloom.cli.output import print_result, table
from medloom.files import cache_dir
from medloom.wording import size_text

if TYPE_CHECKING:
    from medloom.pipeline import Cached

__all__ = ["cache_table", "command"]


def command(runs: RunsOption = RUNS, as_json: JsonOption = False) -> None:
    """List what the cache holds: pixel stores, phantom images and downloads, with size, last use and who needs them.

    All of it can be made or downloaded again. The cache is where MEDLOOM_CACHE says, else in the user's cache folder.
    """
    found = pipeline.cached(runs)
    total = size_text(sum(one.bytes for one in found))
    text = f"{cache_table(found)}\n{total} in {cache_dir()}" if found else f"there is nothing in {cache_dir()}"
    print_result([one.plain() for one in found], text, as_json=as_json)


def cache_table(found: Sequence[Cached]) -> str:
    """Lay out what the cache holds, for people."""
    rows = [
        (one.kind, one.name, size_text(one.bytes), _when(one), ", ".join(one.runs) or "-")
        for one in found
    ]  # fmt: skip
    return table([("what", "name", "size", "last used", "runs"), *rows])


def _when(one: Cached) -> str:
    return "in use" if one.busy else f"{one.days:.0f} days ago" if one.days >= 1 else "today"
