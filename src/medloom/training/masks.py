"""Learning a class for each pixel.

Shapes: N images of a batch, C channels, H height, W width, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medloom.errors import DataError
from medloom.models.network import Network
from medloom.recipe import MasksRecipe, Recipe
from medloom.targets import IGNORED, foreground_of
from medloom.training.batches import Batch, Rows
from medloom.training.mask_scores import MaskScores
from medloom.training.pictures import choose_samples, draw_panels
from medloom.training.preview import View, mask_views
from medloom.training.samples import Samples
from medloom.training.tasks import Forward, Pictures
from medloom.transforms.augment import Augment, AugmentParameters, normalise

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.metadata import TableEncoding
    from medloom.data.store import PixelStore

__all__ = ["MASKS", "MaskPictures", "MaskTask", "MaskTraining", "MaskTruth"]


class MaskTruth:
    """The masks are in the pixel store."""

    def samples(self, store: PixelStore) -> Samples:
        """Return the store's images with its masks."""
        table = np.zeros((len(store), 0), np.float32)
        positive = np.asarray(np.asarray(store.foreground_px) > 0)
        return Samples(store.images, store.masks, table, store.offset, store.scale, positive)


class MaskPictures:
    """A few validation images with the true and the predicted outline."""

    def choose(self, samples: Samples, rows: Rows) -> Rows:
        """Return rows with small to large foreground, and one without."""
        return rows[choose_samples(np.count_nonzero(foreground_of(samples.truth[rows]), axis=(1, 2)))]

    def draw(self, network: Network, batch: Batch) -> NDArray[np.uint8]:
        """Predict in float32, not compiled, and draw on the middle channel."""
        training = network.training
        network.eval()
        with torch.no_grad():
            logits = network.forward(normalise(batch.images, batch.offset, batch.scale))
        network.train(training)
        predicted = logits[:, 0] >= 0 if logits.shape[1] == 1 else logits.argmax(1) > 0
        shown = batch.images[:, batch.images.shape[1] // 2]
        return draw_panels(shown.cpu().numpy(), foreground_of(batch.truth.cpu().numpy()), predicted.cpu().numpy())


class MaskTask:
    """See ``medloom.training.tasks.Task``.

    Args:
        validation: Validation samples.
    """

    pictures: Pictures | None = MaskPictures()

    def __init__(self, validation: int) -> None:
        self._validation = validation
        self._scores = MaskScores(torch.device("cpu"))

    def learn(
        self, network: Forward, augment: Augment, batch: Batch, params: AugmentParameters
    ) -> tuple[Tensor, Tensor]:
        """Return logits ``(N, K, H, W)`` and the moved masks ``(N, H, W)``."""
        images, masks = augment.apply(batch.images, batch.truth, batch.offset, batch.scale, params)
        return network(images), masks

    def answer(self, network: Forward, batch: Batch) -> Tensor:
        """Return logits ``(N, K, H, W)``."""
        return network(normalise(batch.images, batch.offset, batch.scale))

    def unknown(self, truth: Tensor) -> Tensor:
        """Return where pixels are ignored, ``(N, 1, H, W)``."""
        return truth[:, None] == IGNORED

    def begin(self, device: torch.device) -> MaskScores:
        """Begin the sums."""
        self._scores = MaskScores(device, self._validation)
        return self._scores

    def score(self, loss: Tensor, logits: Tensor, batch: Batch) -> None:
        """Add a batch to the sums."""
        if batch.owned > 0:
            self._scores.add(loss, logits, batch.truth, batch.picks, len(batch.rows))
        else:
            self._scores.skip(len(batch.rows))


class MaskTraining:
    """See ``medloom.training.tasks.TrainingKind``."""

    def read_truth(self, catalogue: pd.DataFrame, tables: TableEncoding | None) -> MaskTruth:
        """Return where the masks are."""
        return MaskTruth()

    def check(self, samples: Samples, validation_rows: Rows, monitor: str) -> None:
        """Raise if the Dice over images with foreground is monitored and there are none."""
        if monitor == "dice_foreground" and not samples.positive[validation_rows].any():
            raise DataError(
                "train.monitor is dice_foreground and no validation sample has foreground; take dice_all or loss"
            )

    def task(self, recipe: Recipe, validation: int) -> MaskTask:
        """Return what is done with a batch."""
        return MaskTask(validation)

    def augment(self, recipe: Recipe) -> Augment:
        """Return the random changes."""
        return Augment.of(recipe.augment, in_colour=recipe.in_colour)

    def positive_share(self, recipe: Recipe) -> float | None:
        """Return the share of the drawn samples that hold foreground."""
        return MasksRecipe.of(recipe).train.positive_share

    def fitted_truth(self, samples: Samples, train_rows: Rows) -> None:
        """Return nothing: masks are not counted, since all of them would have to be read."""

    def views(self, recipe: Recipe, store: PixelStore) -> Callable[[int], list[View]]:
        """Return a function that shows a row with its mask."""
        return mask_views(self.augment(recipe), store, recipe.train.seed)


MASKS = MaskTraining()
