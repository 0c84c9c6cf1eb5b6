"""``medloom cache prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from medloom import pipeline
from medloom.cli.cache_list import cache_table
from medloom.cli.options import RUNS, JsonOption, RunsOption, YesOption
from medloom.cli.output import confirmed, print_result, say
from medloom.errors import UserError
from medloom.wording import counted, size_text

if TYPE_CHECKING:
    from medloom.pipeline import Cached

__all__ = ["command"]

_DAYS = 30.0


def command(
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", metavar="DAYS", min=0, help="What was not used for so many days; default: 30."),
    ] = None,
    unused: Annotated[
        bool, typer.Option("--unused", help="Pixel stores and phantom images that no run in --runs needs.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Everything, downloads too.")] = False,
    runs: RunsOption = RUNS,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove from the cache what was not used lately; it is made again where it is needed.

    What a process is using stays, and downloads stay without --all.
    """
    if everything and (unused or older_than is not None):
        raise UserError("--all takes everything; give it without --older-than and --unused")
    days = older_than if older_than is not None else 0.0 if unused else _DAYS

    def chosen(one: Cached) -> bool:
        if everything:
            return True
        return one.kind != "download" and one.days >= days and not (unused and one.runs)

    found = [one for one in pipeline.cached(runs) if not one.busy and chosen(one)]
    if found and not yes:
        say(cache_table(found))
    size = size_text(sum(one.bytes for one in found))
    if found and not confirmed(f"Remove {counted(len(found), 'entry', 'entries')}, {size}?", yes=yes):
        say("nothing was removed")
        return
    removed = pipeline.prune(found)
    freed = size_text(sum(one.bytes for one in removed))
    text = f"{counted(len(removed), 'entry', 'entries')} removed, {freed} freed"
    print_result([one.plain() for one in removed], text, as_json=as_json)
