"""``medloom runs delete``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medloom import pipeline
from medloom.cli.options import RUNS, JsonOption, RunsOption, YesOption
from medloom.cli.output import confirmed, print_result, say, warn
from medloom.files import size_of
from medloom.wording import counted, size_text

__all__ = ["command"]


def command(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names of runs, or their folders.")],
    runs: RunsOption = RUNS,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete runs with their checkpoints, bundles and reports.

    A run that a command is writing is not deleted, nor anything that a link leads to, nor what Medloom did not write.
    """
    folders = list(dict.fromkeys(pipeline.find_run(name, runs) for name in names))
    size = size_text(sum(size_of(folder) for folder in folders))
    listed = ", ".join(map(str, folders))
    if not confirmed(f"Delete {counted(len(folders), 'run')}, {size}: {listed}?", yes=yes):
        say("nothing was deleted")
        return
    deleted = [pipeline.delete_run(folder, Path()) for folder in folders]
    for one in deleted:
        if one.left:
            warn(f"{one.folder} stays: it holds what Medloom did not write: {', '.join(one.left)}")
    freed = size_text(sum(one.bytes for one in deleted))
    text = f"{counted(len(deleted), 'run')} deleted, {freed} freed"
    print_result([one.plain() for one in deleted], text, as_json=as_json)
