"""A folder or zip in the place of a recipe: looked at, asked about where there is a terminal, and said."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medloom.cli.output import say, warn
from medloom.errors import UserError

if TYPE_CHECKING:
    from medloom.data.survey import Survey, Undecided
    from medloom.recipe import Recipe

__all__ = ["Given", "given_recipe", "is_images", "look_at", "say_found"]


@dataclass(frozen=True)
class Given:
    """What a command was given for a recipe.

    Args:
        recipe: A built-in name, the path of a YAML file, or the recipe that was worked out.
        images: Folder or zip; None where the recipe has to say.
        text: The recipe that was worked out, with its comments; None where nothing was.
    """

    recipe: str | Recipe
    images: str | None
    text: str | None = None

    def keep(self, run: Path) -> None:
        """Write the recipe that was worked out into a run."""
        if self.text is not None:
            from medloom.files import write_text
            from medloom.pipeline.names import FOUND

            write_text(run / FOUND, self.text)


def given_recipe(recipe: str, data: str | None, settings: Sequence[str]) -> Given:
    """Return the recipe of a command, worked out from the images if they are what was given.

    Args:
        recipe: Built-in name, YAML file, or a folder or zip of images.
        data: What ``--data`` says.
        settings: What ``--set`` says.

    Raises:
        UserError: If images are given twice, or nothing can be worked out.
    """
    if not is_images(recipe):
        return Given(recipe, data)
    if data is not None:
        raise UserError(
            f"--data {data}: {recipe} is a folder or zip of images, too; give a recipe, or leave --data out"
        )
    from medloom.recipe import parse_recipe

    found, text = look_at(recipe, settings)
    say_found(found)
    return Given(parse_recipe(text, settings), recipe, text)


def is_images(recipe: str) -> bool:
    """Return whether what was given for a recipe is a folder, zip or bucket: no built-in name and no YAML file."""
    from medloom.data.sources import is_zip
    from medloom.recipe.library import builtin_names

    path = Path(recipe).expanduser()
    return recipe not in builtin_names() and ("://" in recipe or path.is_dir() or (path.is_file() and is_zip(path)))


def look_at(path: str, settings: Sequence[str]) -> tuple[Survey, str]:
    """Work out the recipe of a folder or zip; where two are about equally likely, ask on the terminal.

    Args:
        path: Folder or zip.
        settings: What the user said with ``--set``.

    Returns:
        What was found, and the commented recipe.

    Raises:
        Undecided: If there is no terminal to ask on.
        DataError: If the files can be read in no way that is known.
    """
    from medloom.data.survey import Undecided, find_device, survey, written
    from medloom.models.here import weights_here
    from medloom.recipe import parse_recipe, parse_settings

    said, device, weights = list(settings), find_device(), weights_here()
    while True:
        try:
            found = survey(path, parse_settings(said), device, weights)
        except Undecided as undecided:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            said += _asked(undecided)
            continue
        text = written(found)
        parse_recipe(text)  # a key that the user set may be wrong
        return found, text


def _lines(found: Survey) -> Iterator[str]:
    """Yield what was found, for people."""
    from medloom.wording import counted

    people = f", {counted(found.patients, 'patient')}" if found.patients else ""
    yield f"  {found.reading}: {counted(found.samples, 'image')}{people}"
    for check in found.checks:
        yield f"  check {check}"
    for note in found.notes:
        yield f"  note: {note}"


def say_found(found: Survey) -> None:
    """Print what was found, and what to be careful about, to stderr."""
    say("\n".join(_lines(found)))
    for text in found.warnings:
        warn(text)


def _asked(undecided: Undecided) -> tuple[str, ...]:
    """Ask which reading is meant, and return what to set for it."""
    import typer

    say("The files can be read in several ways that are about equally likely:")
    for number, option in enumerate(undecided.options, start=1):
        say(f"  {number}  {option.text}\n     {option.command}")
    answer: int = typer.prompt("Which is meant?", type=int, err=True)
    if not 1 <= answer <= len(undecided.options):
        raise UserError(f"expected a number from 1 to {len(undecided.options)}; got {answer}")
    return undecided.options[answer - 1].settings
