"""The validation metrics of a trained network on other patients than those who picked its epoch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning.pytorch import Callback

from medloom.recipe import Recipe
from medloom.training.best import load_best
from medloom.training.fit import build_data, build_module, build_trainer
from medloom.training.loop import plan_job
from medloom.training.quiet import quiet_lightning

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.metadata import TableEncoding
    from medloom.data.store import PixelStore

__all__ = ["score_part"]


def score_part(
    recipe: Recipe,
    catalogue: pd.DataFrame,
    store: PixelStore,
    run_dir: Path,
    *,
    part: str = "test",
    tables: TableEncoding | None = None,
) -> dict[str, float]:
    """Take the metrics of a validation pass, such as the monitored one, of the best weights on another part.

    Args:
        recipe: The recipe of the run.
        catalogue: Which sample is in which part.
        store: The pixels.
        run_dir: The run directory of a training.
        part: Whom to score.
        tables: How the catalogue's metadata become numbers.

    Returns:
        Every metric that an epoch's line has of validation; NaN where there is nothing to take it over.

    Raises:
        DataError: If the part does not have what the monitored metric takes.
    """
    parts = catalogue["split"].to_numpy(dtype=object)
    divided = catalogue.assign(split=np.where(parts == part, "validation", np.where(parts == "train", "train", "none")))
    job = plan_job(recipe, divided, store, run_dir, tables=tables)
    data = build_data(job, store)
    with quiet_lightning(), torch.random.fork_rng():
        module = build_module(recipe, data, job.precision)
        module.network.load_state_dict(load_best(run_dir, recipe).state_dict())
        module.averaging = None
        trainer = build_trainer(job, Callback())
        trainer.validate(module, datamodule=data, verbose=False)
    return dict(module.metrics)
