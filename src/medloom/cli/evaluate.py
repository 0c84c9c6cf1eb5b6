"""``medloom evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medloom import pipeline
from medloom.cli.display import Display, progress
from medloom.cli.elsewhere import evaluate_bundle, is_bundle
from medloom.cli.options import RUNS, ImagesOption, JsonOption, RunsOption, SetOption
from medloom.cli.output import print_result, say, table, warn
from medloom.errors import UserError
from medloom.evaluation.parts import Part
from medloom.events import Events
from medloom.extras import require
from medloom.registry import check_name
from medloom.targets import LABELS

__all__ = ["command"]

_Run = Annotated[
    str | None,
    typer.Argument(metavar="[RUN|BUNDLE]", help="Name of a run, or its folder; with --data OTHER a bundle."),
]
_Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="RECIPE",
        help="With a bundle: how the images of --data are arranged (its target and data); default: as those that it "
        "learned from.",
    ),
]
_Name = Annotated[
    str, typer.Option("--name", metavar="TEXT", help="With a bundle: what the source of --data is called.")
]
_Record = Annotated[
    Path | None,
    typer.Option(
        "--record", metavar="FILE", help="With a bundle: write it anew, with this validation in its model card."
    ),
]
_Labels = Annotated[
    Path | None,
    typer.Option("--labels", metavar="PATH", help="Instead of a run: CSV with labels, or folder with true masks."),
]
_Predictions = Annotated[
    Path | None,
    typer.Option("--predictions", metavar="PATH", help="With --labels: CSV or .npy with scores, or folder of masks."),
]
_Folder = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="With --labels or a bundle: where to write metrics and report."),
]
_Id = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Column with the image's id.")]
_Targets = Annotated[
    list[str] | None, typer.Option("--target", metavar="COLUMN", help="Label column; may be given several times.")
]
_Scores = Annotated[
    list[str] | None,
    typer.Option("--score", metavar="COLUMN", help="Score column, in the order of the classes or targets."),
]
_Patient = Annotated[str | None, typer.Option("--patient", metavar="COLUMN", help="Label column with the patient.")]
_Pattern = Annotated[
    str | None,
    typer.Option("--patient-pattern", metavar="REGEX", help="Finds the patient in a mask's name, as its first group."),
]
_Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="COLUMN", help="Label column for metrics by group, such as sex."),
]
_Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="A,B,...",
        help="Classes in order; of two, the second is the positive one. For masks also NAME=VALUE.",
    ),
]
_Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help=f"What the labels are: {', '.join(LABELS)}; found out by default."),
]
_Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0.0,
        max=1.0,
        help="Probability from which a case is positive. Default: the column decision of the predictions, or 0.5.",
    ),
]
_Part = Annotated[
    Part,
    typer.Option(
        "--part",
        help="What of a run is measured: test opens the test set, and the run counts how often; validation leaves it "
        "closed and writes beside.",
    ),
]
_RESAMPLES = 1000

_RESULTS = frozenset({"labels", "predictions", "output", "classes", "resamples"})
_USED = {
    "a bundle": frozenset({"run", "data", "output", "recipe", "overrides", "name", "record", "resamples"}),
    "a run": frozenset({"run", "runs", "overrides", "data", "part"}),
    "masks": _RESULTS | {"patient_pattern"},
    "scores": _RESULTS | {"id_column", "target", "score", "patient", "group", "kind", "threshold"},
}
"""What is measured, and the options that say something of it; every other one is refused."""

_Resamples = Annotated[int, typer.Option("--resamples", min=0, help="Resamples for the 95 % intervals.")]


def command(
    context: typer.Context,
    run: _Run = None,
    overrides: SetOption = None,
    data: ImagesOption = None,
    runs: RunsOption = RUNS,
    part: _Part = "test",
    labels: _Labels = None,
    predictions: _Predictions = None,
    output: _Folder = None,
    id_column: _Id = None,
    target: _Targets = None,
    score: _Scores = None,
    patient: _Patient = None,
    patient_pattern: _Pattern = None,
    group: _Groups = None,
    classes: _Classes = None,
    kind: _Kind = None,
    threshold: _Threshold = None,
    resamples: _Resamples = _RESAMPLES,
    recipe: _Recipe = None,
    name: _Name = "",
    record: _Record = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the best weights of a run on its test or validation patients, or with --labels any other model.

    Of a bundle with --data OTHER: an external validation, with a report of its own beside how it was at home. Nothing
    is fitted or chosen there, and the bundle is not changed. --set may say how OTHER is arranged: data.labels.file=...

    Masks may be NIfTI, DICOM segmentations, PNG, TIFF, NPY or DICOM images, and of different formats on the two sides;
    they belong together by name. Volumes are compared where their voxels lie in the patient, each as one case.
    """
    if is_bundle(run) and labels is None and predictions is None:
        _refuse_idle(context, "a bundle")
        settings = [*(overrides or ()), *([] if resamples == _RESAMPLES else [f"evaluate.bootstrap={resamples}"])]
        evaluate_bundle(str(run), data, output, recipe, settings, name, record, as_json=as_json)
        return
    if recipe is not None or name or record is not None:
        raise UserError("--recipe, --name and --record are for a bundle: medloom evaluate BUNDLE --data OTHER")
    if labels is None and predictions is None:
        _refuse_idle(context, "a run")
        _evaluate_run(run, runs, overrides, data, part, as_json=as_json)
        return
    if part != "test" or run is not None or data is not None or labels is None or predictions is None or output is None:
        raise UserError("--labels, --predictions and -o DIR go together, without a run and its --data and --part")
    for what, path in (("--labels", labels), ("--predictions", predictions)):
        if not path.exists():
            raise UserError(f"{what}: there is no {path}")
    if kind is not None:
        check_name("kind of labels", kind, LABELS)
    from medloom.data.layouts.base import is_image

    names = tuple(name.strip() for name in classes.split(",")) if classes else ()
    is_table = labels.is_file() and labels.suffix.lower() != ".zip" and not is_image(labels.name)
    _refuse_idle(context, "scores" if is_table else "masks")
    if is_table:
        from medloom.evaluation.external import ScoreOptions, evaluate_scores

        options = ScoreOptions(
            id_column, tuple(target or ()), tuple(score or ()), patient, tuple(group or ()), names, kind, threshold
        )
        with pipeline.problems_listed(output):
            summary = evaluate_scores(labels, predictions, output, options, resamples)
    else:
        with pipeline.problems_listed(output):
            summary = _masks(labels, predictions, output, names, patient_pattern, resamples)
    _finish(summary, output, as_json=as_json)


def _refuse_idle(context: typer.Context, what: str) -> None:
    """Refuse options that would be without effect: whoever set a threshold must not get metrics at another one."""
    given = (option for option in context.command.params if _is_typed(context, str(option.name)))
    idle = [option.opts[0] for option in given if option.name not in _USED[what] | {"as_json"}]
    if idle:
        raise UserError(f"{', '.join(idle)}: of no effect on {what}; leave out what does nothing")


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _evaluate_run(
    run: str | None, runs: Path, overrides: list[str] | None, data: str | None, part: Part, *, as_json: bool
) -> None:
    from medloom.evaluation import metric_rows
    from medloom.reports.openings import openings_sentence

    if run is None:
        raise UserError("expected the name of a run, or --labels and --predictions; see medloom evaluate --help")
    with pipeline.opened_run(run, runs, overrides or (), command="evaluate") as opened, Display() as display:
        require("torch", "train")
        with pipeline.tracked(opened, Events([display])) as events:
            summary = pipeline.evaluate(opened, part=part, images=data, events=events)
    if sentence := openings_sentence(opened.folder):
        say(sentence)
    following = "report" if part == "validation" else "package"
    text = f"Metrics on {part}:\n{table(metric_rows(summary))}\nNext:\n  medloom {following} {opened.folder}"
    print_result(summary, text, as_json=as_json)


def _masks(
    labels: Path, predictions: Path, output: Path, classes: tuple[str, ...], pattern: str | None, resamples: int
) -> dict[str, Any]:
    from medloom.evaluation.external import evaluate_masks

    with progress("evaluate") as update:
        return evaluate_masks(
            labels,
            predictions,
            output,
            classes=classes,
            patient_pattern=pattern,
            resamples=resamples,
            progress=update,
        )


def _finish(summary: dict[str, Any], output: Path, *, as_json: bool) -> None:
    """Write the page and say what was found."""
    from medloom.evaluation import metric_rows
    from medloom.reports import write_evaluation_report

    page = write_evaluation_report(output)
    for text in summary["warnings"]:
        warn(text)
    print_result(summary, f"{table(metric_rows(summary))}\nReport: {page}", as_json=as_json)
