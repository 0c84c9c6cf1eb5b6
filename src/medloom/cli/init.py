"""``medloom init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medloom.cli.found import is_images, look_at, say_found
from medloom.cli.options import JsonOption, SetOption
from medloom.cli.output import print_result
from medloom.errors import RecipeError, UserError
from medloom.recipe.library import builtin_names
from medloom.wording import nearest

__all__ = ["command"]


def command(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE|PATH", help="Built-in recipe to begin with, or a folder or zip to look at."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write; default: NAME.yaml here.")
    ] = None,
    overrides: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a commented recipe to edit: of a built-in one, or worked out from a folder or zip.

    Of a built-in recipe every key is in it with what it means and what it may be; those that the recipe leaves at their
    default are commented out.

    A folder or zip is looked at, and above each line of its recipe stands what speaks for it. Where the files can be
    read in two ways that are about equally likely, it asks, or without a terminal stops with the --set options to
    choose from.
    """
    if is_images(recipe):
        _of_images(recipe, output, overrides or (), force=force, as_json=as_json)
        return
    from medloom.recipe.commented import commented

    if recipe not in builtin_names():
        raise RecipeError(
            f"there is no recipe, folder or zip {recipe!r}{nearest(recipe, builtin_names())}; `medloom recipes` lists "
            "the recipes"
        )
    if overrides:
        raise UserError("--set: it decides what a folder holds; edit the recipe instead")
    path = output or Path(f"{recipe}.yaml")
    _write(path, commented(recipe), force=force)
    print_result({"recipe": str(path)}, f"{path}\nNext:\n  medloom run {path} --data IMAGES", as_json=as_json)


def _of_images(
    images: str, output: Path | None, settings: list[str] | tuple[str, ...], *, force: bool, as_json: bool
) -> None:
    found, text = look_at(images, settings)
    path = output or Path(f"{found.name}.yaml")
    _write(path, text, force=force)
    say_found(found)
    result = {"recipe": str(path), **found.plain()}
    print_result(result, f"{path}\nNext:\n  medloom run {path} --data {images}", as_json=as_json)


def _write(path: Path, text: str, *, force: bool) -> None:
    from medloom.files import write_text

    if path.exists() and not force:
        raise UserError(f"{path} is there already; choose another file with --output, or replace it with --force")
    write_text(path, text)
