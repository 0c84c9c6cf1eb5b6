"""``medloom compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medloom import pipeline
from medloom.cli.options import RUNS, JsonOption, RunsOption
from medloom.cli.output import print_result, table
from medloom.evaluation.parts import Part

__all__ = ["command"]


def command(
    names: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN...", help="Names or folders of finished runs, or of external validations."),
    ],
    against: Annotated[
        str | None, typer.Option(metavar="RUN", help="The one that the others are compared with; default: the first.")
    ] = None,
    part: Annotated[Part, typer.Option(help="What the runs were measured on.")] = "test",
    out: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write the page and comparison.json.")
    ] = Path("comparison"),
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Compare finished runs on the same patients: paired differences with intervals, and what is more than chance.

    Folders that `medloom evaluate BUNDLE --data OTHER` wrote are compared in the same way: two finished models on the
    same images of another source.

    p-values are corrected for the number of runs and headline metrics.
    """
    made = pipeline.compare_runs(names, out, runs=runs, against=against, part=part)
    print_result(dict(made.facts), _text(made), as_json=as_json)


def _text(made: pipeline.Comparison) -> str:
    from medloom.reports.comparison import signed_text

    facts = made.facts
    meanings, headlines = facts["meanings"], facts["headlines"]
    rows: list[tuple[str, ...]] = [("", f"difference from {facts['against']}", "p", "corrected")]
    for name, found in facts["differences"].items():
        rows.append((name, "", "", ""))
        for key in (key for key in headlines if key in found):
            one = found[key]
            ps = (f"{one[column]:.4f}" if one.get(column) is not None else "" for column in ("p", "p_corrected"))
            rows.append((f"  {meanings[key]['label']}", signed_text(one, meanings[key]["unit"]), *ps))
    notes = [f"note: {note}" for note in facts["notes"]]
    return "\n".join([table(rows), *notes, f"Report: {made.page}"])
