"""``medloom runs show``."""

from __future__ import annotations

from medloom import pipeline
from medloom.cli.options import RUNS, JsonOption, RunArgument, RunsOption
from medloom.cli.output import print_result, table
from medloom.cli.texts import trained_text
from medloom.files import read_json
from medloom.wording import size_text

__all__ = ["command"]


def command(run: RunArgument, runs: RunsOption = RUNS, as_json: JsonOption = False) -> None:
    """Say how far a run has come, what it holds and how large that is, and what was measured."""
    facts, parts = pipeline.run_facts(run, runs)
    training, summary = (
        read_json(path) if (path := facts.folder / name).is_file() else None
        for name in ("training.json", "evaluation/summary.json")
    )
    rows = [
        ("state", facts.state),
        ("last written", pipeline.utc(facts.changed)),
        ("size", size_text(facts.bytes)),
        *((f"  {part}", size_text(size)) for part, size in parts.items() if size),
    ]
    lines = [str(facts.folder), table(rows)]
    if training is not None:
        lines.append(trained_text(training))
    if summary is not None and "test" in summary:
        from medloom.evaluation import metric_rows  # numpy: only where something was measured

        lines.append(table(metric_rows(summary, 4)))
    value = {**facts.plain(), "parts": parts, "training": training, "summary": summary}
    print_result(value, "\n".join(lines), as_json=as_json)
