"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.pipeline.names import RUNS

if TYPE_CHECKING:
    from medloom.inference.writers import FormFiles
    from medloom.packaging import Manifest

__all__ = [
    "RUNS",
    "BudgetOption",
    "DataOption",
    "DryRunOption",
    "FormOption",
    "ImagesOption",
    "JobsOption",
    "JsonOption",
    "PresetOption",
    "ProfileOption",
    "RecipeArgument",
    "RecipeOrImagesArgument",
    "RunArgument",
    "RunOption",
    "RunsOption",
    "SetOption",
    "StrictOption",
    "WorkersOption",
    "YesOption",
    "form_files",
    "with_profile",
]

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="Built-in recipe, or a YAML file.")]
RecipeOrImagesArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|PATH", help="Built-in recipe, a YAML file, or a folder, zip or s3:// of images to look at."
    ),
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Name of a run, or its folder.")]
DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="PATH", help="Folder, zip or s3://BUCKET/FOLDER/; default: what the recipe says."),
]
ImagesOption = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="PATH", help="Folder, zip or s3:// with the run's images; default: where they were."
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="NAME|PATH", help="Name of the run, or its folder with a slash; default: the recipe's name."
    ),
]
RunsOption = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder that holds the runs.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the recipe; may be given several times."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes that read images; default: one a core.")
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="Folds or seeds to train at a time; they share the cores or take the GPUs in turn. Default: as many as "
        "there are GPUs for, else one.",
    ),
]
PresetOption = Annotated[
    str,
    typer.Option(
        "--preset",
        metavar="quick|good|best",
        help="How much work goes into it: a baseline in minutes, the recipe as it is, or folds and their ensemble. "
        "--set wins.",
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget", metavar="TIME", help="Time for all of it, such as 30m or 2h: as many epochs are trained as fit."
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be asked of the back end as JSON, and do nothing.")
]
ProfileOption = Annotated[
    bool,
    typer.Option(
        "--profile",
        help="Look at where the time of the training goes closely: operators, a trace for Perfetto, the machine over "
        "time. Without it there is a light account.",
    ),
]
FormOption = Annotated[
    list[str] | None,
    typer.Option(
        "--form",
        metavar="NAME",
        help="Also write each answer as seg, sr (DICOM), tiff, heatmap, ...; repeat it for several.",
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option("--strict", help="Refuse images and metadata unlike those of the training, instead of warning."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def form_files(names: list[str] | None, manifest: Manifest) -> FormFiles | None:
    """Return what writes the forms that ``--form`` names, each once; None where it names none.

    Raises:
        UserError: If the answers of the bundle have no such form.
    """
    from medloom.inference.writers import FormFiles

    if not names:
        return None
    found = FormFiles(tuple(dict.fromkeys(names)), manifest.algorithm)
    found.check(manifest.target)
    return found


def with_profile(overrides: list[str] | None, profile: bool) -> list[str]:
    """Return what ``--set`` said, and what ``--profile`` says for it."""
    return [*(overrides or ()), *(["train.profile=full"] if profile else [])]
