"""``medloom data phantom``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medloom.cli.display import progress
from medloom.cli.options import JsonOption, SetOption
from medloom.cli.output import print_result

__all__ = ["command"]


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to fill.")],
    recipe: Annotated[str, typer.Option("--recipe", metavar="RECIPE", help="Whose layout to make.")] = "brain-mri",
    patients: Annotated[int | None, typer.Option("--patients", help="Number of patients.")] = None,
    size: Annotated[int | None, typer.Option("--size", help="Height and width of an image in pixels.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the generator.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make synthetic images in a recipe's own layout.

    They look and behave like the real ones as far as the software is concerned; a model trained on them
    means nothing for people. The same seed makes the same images. How many images a patient has and how many are
    positive is set as in a recipe: --set data.phantom.slices=[1,4] --set data.phantom.prevalence=0.02
    """
    from medloom.data import PhantomPlan, make_phantom
    from medloom.recipe import load_recipe

    given = {"patients": patients, "size": size, "seed": seed}
    chosen = [f"data.phantom.{key}={value}" for key, value in given.items() if value is not None]
    data = load_recipe(recipe, [*(overrides or ()), *chosen]).data
    with progress("phantoms") as update:
        made = make_phantom(PhantomPlan.of(data.phantom), folder, layout=data.layout, progress=update)
    text = f"{made}\nNext:\n  medloom run {recipe} --data {made}"
    print_result({"folder": str(made), **data.phantom.model_dump(mode="json")}, text, as_json=as_json)
