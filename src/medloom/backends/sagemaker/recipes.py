"""A recipe on its way to a container: a name that is built in, or a file in a channel of its own; settings as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.faults import plainly
from medloom.backends.sagemaker.place import Place
from medloom.errors import UserError
from medloom.files import sha256_bytes
from medloom.recipe import builtin_names

__all__ = ["RECIPE_CHANNEL", "SentRecipe", "recipe_settings", "written_recipe"]

RECIPE_CHANNEL = "recipe"
"""Channel with one YAML file."""

_OWN = ("data.path", "data.kaggle")
"""Keys of this machine: there the images come in a channel."""


@dataclass(frozen=True)
class SentRecipe:
    """What a container is given of a recipe.

    Args:
        settings: Hyper-parameters.
        channels: URI of the recipe's file by the name of its channel; none of a built-in one.
        text: What goes into that file.
    """

    settings: Mapping[str, str]
    channels: Mapping[str, str]
    text: str = ""

    def upload(self, account: Account, place: Place) -> None:
        """Bring the file into the bucket, where there is one."""
        for uri in self.channels.values():
            key = f"{uri.removeprefix(f's3://{place.bucket}/')}/recipe.yaml"
            way = {"SSEKMSKeyId": place.kms_key, "ServerSideEncryption": "aws:kms"} if place.kms_key else {}
            with plainly("the recipe cannot be sent"):
                account.client("s3").put_object(Bucket=place.bucket, Key=key, Body=self.text.encode(), **way)


def recipe_settings(recipe: str, overrides: Sequence[str], run: str, place: Place) -> SentRecipe:
    """Return what a container is given of a recipe and of what the user set.

    Args:
        recipe: Name of a built-in recipe, or path of a YAML file.
        overrides: ``key=value`` texts.
        run: Name of the run.
        place: Where the file goes.
    """
    pairs = dict(text.split("=", 1) for text in overrides)
    settings = {key.strip(): value.strip() for key, value in pairs.items() if key.strip() not in _OWN}
    if recipe in builtin_names():
        return SentRecipe({"recipe": recipe, "run": run, **settings}, {})
    return written_recipe(Path(recipe).read_text("utf-8"), run, place, settings)


def written_recipe(text: str, run: str, place: Place, settings: Mapping[str, str] | None = None) -> SentRecipe:
    """Return what a container is given of a recipe that is written out.

    Raises:
        UserError: If it is empty.
    """
    if not text.strip():
        raise UserError("the recipe is empty")
    uri = place.uri("recipes", sha256_bytes(text.encode())[:16])
    return SentRecipe({"run": run, **(settings or {})}, {RECIPE_CHANNEL: uri}, text)
