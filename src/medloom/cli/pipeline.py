"""``medloom pipeline``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medloom.cli.options import JsonOption, SetOption
from medloom.cli.output import print_result, say
from medloom.errors import UserError

if TYPE_CHECKING:
    from medloom.data.sources import Source
    from medloom.pipeline.event.arguments import Arguments
    from medloom.pipeline.event.meaning import Meaning

__all__ = ["command"]

_RECIPE, _ANALYSIS = "recipe.yaml", "analysis.json"


def command(
    event: Annotated[Path, typer.Argument(metavar="EVENT.json", help="The arguments of the pipeline as JSON.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the recipe, the run and the results.")
    ] = Path("pipeline"),
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the recipe that the event means as YAML, and do nothing.")
    ] = False,
    shallow: Annotated[
        bool, typer.Option("--shallow", help="Train a perceptron (labels-shallow) instead of AlexNet (labels-deep).")
    ] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do what an event of a serverless pipeline says: train, or predict and measure.

    The event is a JSON object of is_dropbox, auth_token, folder_name, images_bucket, is_train, has_labels, label_style,
    images_labels_bucket, model_bucket_name, num_classes, num_machines and num_channels; all have a default. What it
    means is printed as a recipe, and written as DIR/recipe.yaml.

    Buckets are read with the credentials that boto3 finds (extra aws); a folder of this machine may stand in the place
    of each. DIR/analysis.json has Jaccard and Dice of masks; accuracy, confusion matrix and precision of labels.
    """
    from medloom.pipeline.event.arguments import read_arguments

    asked = read_arguments(event)
    if asked.num_machines > 1 and not only_print:
        raise UserError(
            f"num_machines: this command works on this machine, and the event says {asked.num_machines}; for other "
            "machines print the recipe (--print) and give it to medloom sagemaker train, or set num_machines to 1"
        )
    if not asked.is_train and (shallow or overrides):
        raise UserError("--shallow and --set say how a model is trained, and is_train is false; leave them out")
    with ExitStack() as stack:
        images, labels = _sources(asked, stack)
        found = _meaning(asked, images, labels, shallow=shallow)
        if only_print:
            if found is None:
                raise UserError("--print: to predict without labels takes no recipe; the model says all")
            print(found.recipe, end="")
            return
        given = _gathered(asked, images, labels, output)
        if found is not None:
            _keep(found, output)
        result = _train(asked, found, given, output, overrides) if asked.is_train and found else None
        if result is None:
            _predict(asked, found, given, output, as_json=as_json)
            return
    print_result(result, f"Model: {result['model']}\nResults: {result['analysis']}", as_json=as_json)


def _sources(event: Arguments, stack: ExitStack) -> tuple[Source, Source]:
    from medloom.pipeline.event.gathering import opened

    images = stack.enter_context(opened("images_bucket", event.images_bucket, event.folder_name))
    if not event.images_labels_bucket or not event.has_labels:
        return images, images
    labels = opened("images_labels_bucket", event.images_labels_bucket, event.folder_name)
    return images, stack.enter_context(labels)


def _meaning(event: Arguments, images: Source, labels: Source, *, shallow: bool) -> Meaning | None:
    from medloom.pipeline.event.meaning import meaning_of

    if not event.has_labels:
        return None
    found = meaning_of(event, images, labels, "labels-shallow" if shallow else "labels-deep")
    if shallow and found.masks:
        raise UserError("--shallow: a perceptron draws no masks, and these labels are maps of classes; leave it out")
    return found


def _keep(found: Meaning, output: Path) -> None:
    from medloom.files import write_text

    output.mkdir(parents=True, exist_ok=True)
    write_text(output / _RECIPE, found.recipe)
    say(found.recipe)


def _gathered(event: Arguments, images: Source, labels: Source, output: Path) -> tuple[Path, Path]:
    from medloom.pipeline.event.gathering import fetched

    here = fetched(images, output / "fetched" / "images")
    return here, here if labels is images else fetched(labels, output / "fetched" / "labels")


def _train(
    event: Arguments, found: Meaning, given: tuple[Path, Path], output: Path, overrides: list[str] | None
) -> dict[str, Any] | None:
    from medloom import pipeline
    from medloom.cli.display import Display
    from medloom.cli.texts import STOPPED, say_steps
    from medloom.extras import require
    from medloom.pipeline.event.gathering import put_model
    from medloom.pipeline.event.meaning import arranged

    require("torch", "train")
    data = arranged(output / "data", found, *given)
    with Display() as display:
        result = pipeline.run(
            output / _RECIPE,
            data=data,
            run=(output / "run").absolute(),
            settings=overrides or (),
            on_event=[display, say_steps],
        )
    if result.bundle is None:
        say(STOPPED)
        raise typer.Exit
    analysis = _analysed(dict(result.summary), output)
    return {**result.plain(), "model": put_model(result.bundle, event.model_bucket_name), "analysis": analysis}


def _predict(event: Arguments, found: Meaning | None, given: tuple[Path, Path], output: Path, *, as_json: bool) -> None:
    from medloom.cli import batch
    from medloom.files import read_json
    from medloom.pipeline.event.gathering import fetch_model
    from medloom.pipeline.event.meaning import TABLE, arranged

    images, labels = given
    model, results = fetch_model(event.model_bucket_name, output / "fetched" / "model"), output / "results"
    truth: dict[str, Any] = {}
    if found is not None:
        data = arranged(output / "data", found, images, labels)
        named = {"labels": str(data / TABLE), "target": list(found.columns[1:])}
        truth = {"labels": str(labels)} if found.masks else named
    try:
        batch.command(model, results, [str(images)], skip=["*.npy", "*.csv"], as_json=as_json, **truth)
    finally:
        summary = results / "evaluation" / "summary.json"
        if found is not None and summary.is_file():
            say(f"Results: {_analysed(read_json(summary), output)}")


def _analysed(summary: dict[str, Any], output: Path) -> str:
    """Write what was measured on the images of the test, or on all that were predicted."""
    from medloom.files import write_json

    write_json(output / _ANALYSIS, summary["test"])
    return str(output / _ANALYSIS)
