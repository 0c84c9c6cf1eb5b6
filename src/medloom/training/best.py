"""The weights of the best epoch of a training."""

from __future__ import annotations

from pathlib import Path

from medloom.errors import RecipeError, TrainingError
from medloom.models.kinds import build_network
from medloom.models.network import Network
from medloom.recipe import Recipe
from medloom.training.checkpoint import BEST
from medloom.training.tree import DamagedTreeError, read_tree

__all__ = ["load_best"]


def load_best(run_dir: Path, recipe: Recipe) -> Network:
    """Load the weights of the best epoch.

    Args:
        run_dir: The run directory of a training.
        recipe: Its recipe.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        TrainingError: If there is no best epoch yet, or its file is damaged.
        RecipeError: If the weights do not fit the recipe's network.
    """
    path = run_dir / BEST
    try:
        best = read_tree(path)
    except FileNotFoundError:
        raise TrainingError(f"{path} is not there; train first") from None
    except DamagedTreeError as error:
        raise TrainingError(f"{error}. Train again to make a new one.") from error
    network = build_network(recipe, best["in_channels"], best["table_features"], trained=True)
    try:
        network.load_state_dict(best["network"])
    except RuntimeError as error:
        raise RecipeError(f"model: the weights in {path} are of another network: {error}") from error
    return network.eval()
