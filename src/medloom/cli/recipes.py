"""``medloom recipes``."""

from __future__ import annotations

from medloom.cli.options import JsonOption
from medloom.cli.output import print_result, table
from medloom.recipe import builtin_summaries

__all__ = ["command"]


def command(as_json: JsonOption = False) -> None:
    """List the built-in recipes.

    `medloom init NAME` writes one as a file to edit; `medloom run NAME` runs it.
    """
    summaries = builtin_summaries()
    print_result(summaries, table(list(summaries.items()), indent=""), as_json=as_json)
