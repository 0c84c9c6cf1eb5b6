"""What training would refuse, found before the first image is read."""

from __future__ import annotations

from importlib.util import find_spec

from medloom import models
from medloom.errors import RecipeError
from medloom.events import Events, Warned
from medloom.files import members_of
from medloom.pipeline.identity import is_trained
from medloom.pipeline.runs import Run

__all__ = ["check_recipe"]


def check_recipe(run: Run, *, trains: bool, events: Events | None = None) -> None:
    """Build the network of a run once, and look whether this machine has the device and the precision.

    Args:
        run: The run; nothing of it need be there.
        trains: Whether it is trained on this machine. Then pretrained weights are fetched from the hub as well, unless
            the training has begun. Where it is only prepared, a device that is not here is a warning.
        events: Told of it.

    Raises:
        RecipeError: If the network cannot be built, its weights cannot be had, or it cannot be trained here.
    """
    if find_spec("torch") is None:  # a machine that only prepares
        return
    from medloom.training.precision import choose_device, choose_precision  # brings torch

    train = run.recipe.train
    try:
        choose_precision(train.precision, choose_device(train.device, train.devices))
    except RecipeError as error:
        if trains:
            raise
        (events or Events()).emit(Warned(f"{error}. This machine can prepare the run and not train it"))
    begun = any(is_trained(folder) for folder in (run.folder, *members_of(run.folder)))
    models.check_network(run.recipe, fetch=trains and not begun)
