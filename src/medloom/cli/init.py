"""``medloom init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medloom.cli.options import JsonOption
from medloom.cli.output import print_result
from medloom.errors import UserError

__all__ = ["command"]


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Built-in recipe to begin with.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write; default: RECIPE.yaml here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a commented recipe to edit.

    Every key is in it with what it means and what it may be; those that the recipe leaves at their
    default are commented out.
    """
    from medloom.files import write_text
    from medloom.recipe.commented import commented

    path = output or Path(f"{recipe}.yaml")
    text = commented(recipe)
    if path.exists() and not force:
        raise UserError(f"{path} is there already; choose another file with --output, or replace it with --force")
    write_text(path, text)
    print_result({"recipe": str(path)}, f"{path}\nNext:\n  medloom run {path} --data IMAGES", as_json=as_json)
