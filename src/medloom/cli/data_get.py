"""``medloom data get``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from medloom.cli.options import JsonOption
from medloom.cli.output import print_result, say
from medloom.errors import UserError
from medloom.files import cache_dir

__all__ = ["command"]


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe, or a Kaggle data set as owner/name.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to download to; default: the cache.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download a recipe's data set from Kaggle.

    Credentials are asked for once and kept in ~/.kaggle/kaggle.json, readable by you only. A download
    that was interrupted goes on; one that is there is not repeated.
    """
    from medloom.data import fetch_kaggle, kaggle_credentials

    dataset = _dataset(recipe)
    if not kaggle_credentials():
        _ask_for_credentials()
    folder = fetch_kaggle(dataset, output or cache_dir() / "kaggle")
    text = f"{folder}\nNext:\n  medloom run {recipe} --data {folder}"
    print_result({"dataset": dataset, "folder": str(folder)}, text, as_json=as_json)


def _dataset(recipe: str) -> str:
    from medloom.recipe import load_recipe

    if recipe.count("/") == 1 and not Path(recipe).exists() and not recipe.endswith((".yaml", ".yml")):
        return recipe
    loaded = load_recipe(recipe)
    if loaded.data.kaggle is None:
        raise UserError(f"recipe {loaded.name} has no Kaggle data set (data.kaggle is empty); pass --data PATH instead")
    return loaded.data.kaggle


def _ask_for_credentials() -> None:
    from medloom.data import store_kaggle_credentials

    if not sys.stdin.isatty():
        raise UserError(
            "there are no Kaggle credentials: set KAGGLE_USERNAME and KAGGLE_KEY, or run this command on a terminal; "
            "`medloom data phantom` makes images without any"
        )
    say("Kaggle credentials are needed once; make a key under Settings > API on kaggle.com.")
    username = typer.prompt("Kaggle user name", err=True)
    key = typer.prompt("API key (not shown)", hide_input=True, err=True)
    say(f"kept in {store_kaggle_credentials(username, key)}")
