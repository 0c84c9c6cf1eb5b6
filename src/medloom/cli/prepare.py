"""``medloom prepare``."""

from __future__ import annotations

from medloom.cli import stages
from medloom.cli.options import DataOption, JsonOption, RecipeArgument, RunOption, RunsOption, SetOption, WorkersOption
from medloom.cli.output import print_result

__all__ = ["command"]


def command(
    recipe: RecipeArgument,
    data: DataOption = None,
    name: RunOption = None,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    runs: RunsOption = stages.RUNS,
    as_json: JsonOption = False,
) -> None:
    """Check the images, split by patient, store the pixels and write the data report.

    Every file that does not fit is named in one pass. What is already stored is not decoded again.
    """
    run, where = stages.start_run(recipe, name, runs, overrides, data)
    run, facts = stages.prepare_stage(run, where, workers)
    page = run.folder / "data_report.html"
    text = f"{stages.prepared_text(facts)}\n\nLook at {page}\nNext:\n  medloom train {run.folder}"
    print_result(facts, text, as_json=as_json)
    stages.exit_if_set_aside(facts)
