"""``medloom tune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medloom.cli.backend_option import BackendOption, OnOption, done_elsewhere
from medloom.cli.display import Display
from medloom.cli.options import DataOption, DryRunOption, JsonOption, RecipeArgument, SetOption, WorkersOption
from medloom.cli.output import print_result, say, table
from medloom.cli.texts import STOPPED
from medloom.errors import UserError
from medloom.extras import require
from medloom.wording import counted

if TYPE_CHECKING:
    from medloom.tuning import NestedResult, StudyResult

__all__ = ["closing", "command"]

_STUDIES = Path("studies")


def command(
    context: typer.Context,
    recipe: RecipeArgument,
    data: DataOption = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, help="Trials in all, those of earlier calls included; default: 20, fast 3."),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="No trial begins after it, such as 30m or 2h.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Trials at a time.")] = 1,
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="NAME|PATH", help="Name of the study, or its folder with a slash."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", metavar="K", min=2, help="Score each setting by folds of all but the test patients."),
    ] = None,
    outer: Annotated[
        int | None,
        typer.Option(
            "--outer",
            metavar="K",
            min=2,
            help="Nested cross-validation: a study outside of each of K folds, its winner measured on the fold.",
        ),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(
            "--price-per-hour", metavar="PRICE", help="What an hour of the machine costs, such as '2.50 EUR'."
        ),
    ] = None,
    confirm: Annotated[
        int,
        typer.Option("--confirm", metavar="S", min=0, help="Train the best settings again with so many other seeds."),
    ] = 0,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain",
            help="Train the best settings again on training and validation patients, and package that, too.",
        ),
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Only to see that everything works: small images, two epochs, three trials.")
    ] = False,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    studies: Annotated[
        Path, typer.Option("--studies", metavar="DIR", help="Folder that holds the studies.")
    ] = _STUDIES,
    backend: BackendOption = "local",
    on: OnOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search the settings of a recipe, and package the best model.

    The recipe's section `tune` says what is searched; without it, a sound space for what is predicted. The score of a
    trial is the metric of its best epoch on the validation patients. The test patients are not looked at: `medloom
    evaluate` on the best run opens them, once, when you want it.

    With --outer nothing is packaged: all patients are divided into folds, and for each of them a study searches the
    settings on the others; what the winners give on the folds is an honest figure of the whole way of choosing.

    Stopped or killed at any moment, the same command goes on.

    With --backend sagemaker the trials are done there; see medloom sagemaker tune.
    """
    if done_elsewhere(context, backend, on, dry_run=dry_run):
        return
    require("torch", "train")
    require("optuna", "tune")
    from medloom import pipeline, tuning

    timeout_s = None if timeout is None else pipeline.read_budget(timeout, "--timeout")
    overrides = [*(overrides or ()), *([] if price is None else [f"tune.price_per_hour={price}"])]
    if outer is not None and (confirm or retrain):
        option = "--confirm" if confirm else "--retrain"
        raise UserError(
            f"{option}: with --outer nothing is packaged, and every winner is measured on others; leave it out"
        )
    with Display() as display:
        common: dict[str, Any] = {
            "trials": trials or (3 if fast else 20), "timeout_s": timeout_s, "jobs": jobs, "study": study,
            "folds": folds, "fast": fast, "data": data, "settings": overrides, "studies": studies,
            "workers": workers, "on_event": display,
        }  # fmt: skip
        found = (
            tuning.tune(recipe, confirm=confirm, retrain=retrain, **common)
            if outer is None
            else tuning.tune_nested(recipe, outer=outer, **common)
        )
    if found.stopped is not None:
        say(STOPPED)
        return
    text = closing(found) if isinstance(found, tuning.StudyResult) else _nested(found)
    print_result(found.plain(), text, as_json=as_json)


def _nested(found: NestedResult) -> str:
    from medloom.reports.nested_report import nested_sentence
    from medloom.wording import metric_text

    facts = found.facts
    rows = [("", "outside", "where it was chosen")]
    for name in facts["headlines"]:
        meaning, inside = facts["meanings"][name], facts["chosen_on"].get(name, {"value": None})
        rows.append((meaning["label"], *(metric_text(one, meaning["unit"]) for one in (facts["pooled"][name], inside))))
    phantom = "\nMade of PHANTOM images: the figures say that the software works, nothing about people."
    return f"\n{nested_sentence(facts)}\n\n{table(rows)}{phantom if facts['phantom'] else ''}\n\nPage: {found.page}"


def closing(result: StudyResult) -> str:
    """Return what is said at the end of a study."""
    best, facts = result.facts["best"], result.facts
    settings = table([(key, text) for key, text in best["shown"].items()])
    luck = facts["luck"]
    again = "" if luck is None else f"; with {counted(len(luck['scores']), 'other seed')} {luck['mean']:.4f} on average"
    again_made = [] if result.retrained is None else [("retrained", str(result.retrained))]
    made = table([("bundle", str(result.bundle)), *again_made, ("page", str(result.folder / "tuning_report.html"))])
    price = facts.get("price")
    cost = "" if price is None else f"Trials cost {price['total']:,.2f} {price['currency']}\n"
    phantom = "\nLearned from PHANTOM images: the scores say that the software works, nothing about people.\n"
    trials = counted(len(facts["trials"]), "trial")
    return (
        f"\nBest of {trials} by {facts['monitor']} on validation: trial {best['number']} "
        f"with {best['score']:.4f}{again}\n{settings}\n{cost}{phantom if facts['phantom'] else ''}\n"
        f"Made in {result.folder}:\n{made}\n\n"
        f"Next:\n  medloom evaluate {result.folder / 'best'}   (opens the test set, which the study left closed)\n"
        f"  optuna-dashboard sqlite:///{result.folder / 'study.db'}"
    )
