"""``medloom runs list``."""

from __future__ import annotations

from medloom import pipeline
from medloom.cli.options import RUNS, JsonOption, RunsOption
from medloom.cli.output import print_result, table
from medloom.wording import counted, size_text

__all__ = ["command"]


def command(runs: RunsOption = RUNS, as_json: JsonOption = False) -> None:
    """List the runs: how far each has come, its size on the disk, and when it was last written."""
    found = pipeline.list_runs(runs)
    rows = [(one.name, one.state, size_text(one.bytes), pipeline.utc(one.changed)) for one in found]
    total = size_text(sum(one.bytes for one in found))
    text = f"{table([('run', 'state', 'size', 'last written'), *rows])}\n{counted(len(found), 'run')}, {total}"
    print_result([one.plain() for one in found], text if found else f"there are no runs in {runs} yet", as_json=as_json)
