"""What differs between kinds of answers while a network learns; ``medloom.training.kinds`` is the table.

Shapes: N images of a batch, C channels, H height, W width, K outputs, T numbers in a label, F columns of metadata.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medloom.models.network import Network
from medloom.recipe import Recipe
from medloom.training.answers import Answers
from medloom.training.batches import Batch, Rows
from medloom.training.preview import View
from medloom.training.samples import Samples
from medloom.transforms.augment import Augment, AugmentParameters

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.metadata import TableEncoding
    from medloom.data.store import PixelStore

__all__ = ["Forward", "Pictures", "Scores", "Task", "TrainingKind", "Truth"]

Forward = Callable[..., Tensor]
"""A network, or its ``forward`` where it is to run uncompiled."""


class Scores(Protocol):
    """The metrics of a validation pass; ``sums`` may be added over the processes."""

    sums: Tensor

    def metrics(self) -> dict[str, float]:
        """Return every metric; NaN where there is nothing to take it over."""
        ...

    def answers(self) -> Answers | None:
        """Return what was answered for each sample, beside its truth; None where that was not kept."""
        ...


class Pictures(Protocol):
    """How the answers for a few validation samples change while the network learns."""

    def choose(self, samples: Samples, rows: Rows) -> Rows:
        """Return a few of ``rows``, the same in every epoch."""
        ...

    def draw(self, network: Network, batch: Batch) -> NDArray[np.uint8]:
        """Return a picture ``(h, w, 3)`` of the network's answers for these samples."""
        ...


class Task(Protocol):
    """What is done with a batch."""

    @property
    def pictures(self) -> Pictures | None:
        """What draws the progress; None where there is nothing to look at."""

    def learn(
        self, network: Forward, augment: Augment, batch: Batch, params: AugmentParameters
    ) -> tuple[Tensor, Tensor]:
        """Return logits of the augmented batch and the truth that goes with them."""
        ...

    def answer(self, network: Forward, batch: Batch) -> Tensor:
        """Return logits of the batch as validation sees it."""
        ...

    def unknown(self, truth: Tensor) -> Tensor:
        """Return where the truth that ``learn`` gave is not known, as bits that go with the logits ``(N, K, ...)``."""
        ...

    def begin(self, device: torch.device) -> Scores:
        """Begin the metrics of a validation pass."""
        ...

    def score(self, loss: Tensor, logits: Tensor, batch: Batch) -> None:
        """Add a batch to the pass that was begun; one that this process does not own only counts."""
        ...


class Truth(Protocol):
    """What is to be learned, apart from the pixels; plain data that other processes can be given."""

    def samples(self, store: PixelStore) -> Samples:
        """Return the pixels of a store beside it.

        Raises:
            DataError: If the store does not hold one of the samples.
        """
        ...


class TrainingKind(Protocol):
    """How a kind of answer is learned."""

    def read_truth(self, catalogue: pd.DataFrame, tables: TableEncoding | None) -> Truth:
        """Take what is to be learned from a catalogue.

        Args:
            catalogue: Every sample.
            tables: How metadata become numbers; None where the network takes none.

        Raises:
            DataError: If a sample lacks it.
        """
        ...

    def check(self, samples: Samples, validation_rows: Rows, monitor: str) -> None:
        """Raise if the validation samples do not have what the monitored metric takes.

        Raises:
            DataError: Saying what they lack and which metric to take.
        """
        ...

    def task(self, recipe: Recipe, validation: int) -> Task:
        """Return what is done with a batch; ``validation`` is the number of validation samples."""
        ...

    def augment(self, recipe: Recipe) -> Augment:
        """Return the random changes to the training batches."""
        ...

    def positive_share(self, recipe: Recipe) -> float | None:
        """Return the share of the drawn samples that are positive, or None to draw as the data are."""
        ...

    def fitted_truth(self, samples: Samples, train_rows: Rows) -> NDArray[Any] | None:
        """Return the truth of the training samples for the loss to be fitted to; None where it is not read for that."""
        ...

    def views(self, recipe: Recipe, store: PixelStore) -> Callable[[int], list[View]]:
        """Return a function that shows a row of the store as it is and as training may see it."""
        ...
