"""One network learns what several say: their answers to the very images that it sees, in the place of the truth.

They answer while it learns, so every random change of an image, and every mixture of two, is one that they have seen.

Source: Hinton et al. 2015 (arXiv:1503.02531); Beyer et al. 2022 (arXiv:2106.05237) for one view of both
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medloom.data.catalogue import meta_of
from medloom.models.ensemble import Ensemble, answering
from medloom.recipe import Recipe
from medloom.training.batches import Batch
from medloom.training.best import load_best
from medloom.training.tasks import Forward, Pictures, Scores, Task
from medloom.transforms.augment import Augment, AugmentParameters
from medloom.transforms.augment.mixing import mix_rows

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.metadata import TableEncoding
    from medloom.data.store import PixelStore

__all__ = ["DistilledTask", "Teachers"]


@dataclass(frozen=True)
class Teachers:
    """The networks whose answers are learned, in plain types.

    Args:
        recipe: What all of them were made from.
        runs: Their run directories.
        temperature: What logits of both sides are divided by.
        tables: How metadata become numbers for each of them; None for one that takes none. Empty: none of them does.
        metadata: ``(M, F)`` the numbers of every row of the store for all of them side by side; see ``encoded``.
    """

    recipe: Recipe
    runs: Sequence[Path]
    temperature: float = 1.0
    tables: Sequence[TableEncoding | None] = ()
    metadata: NDArray[np.float32] | None = None

    def encoded(self, catalogue: pd.DataFrame, store: PixelStore) -> Self:
        """Return the same with the metadata of a catalogue; as it is where none of them takes any."""
        tables = [table for table in self.tables if table is not None]
        if not tables:
            return self
        rows, metadata = store.rows(catalogue["sample_id"].tolist()), meta_of(catalogue)
        numbers = np.concatenate([table.encode(metadata) for table in tables], axis=1)
        whole = np.zeros((len(store), numbers.shape[1]), np.float32)
        whole[rows] = numbers
        return replace(self, metadata=whole)

    def ensemble(self) -> nn.Module:
        """Return the mean of their answers, on the CPU and not to be trained.

        Raises:
            TrainingError: If one of them has no best weights.
        """
        networks = [load_best(run, self.recipe) for run in self.runs]
        widths = [0 if table is None else len(table.names) for table in self.tables] or [0] * len(networks)
        activation = self.recipe.predicts().activation
        return answering(Ensemble(networks, activation, widths), activation).requires_grad_(requires_grad=False)


class DistilledTask:
    """See ``medloom.training.tasks.Task``: as another task, with answers in the place of the truth.

    Args:
        task: What is learned otherwise; it says as well what of the truth is not known.
        teacher: Answers images ``(N, C, H, W)``. It is no part of what is trained, moved or saved.
        metadata: ``(M, F)`` what it takes beside an image, for every row of the store; None where it takes none.
    """

    def __init__(self, task: Task, teacher: nn.Module, metadata: NDArray[np.float32] | None = None) -> None:
        self.task, self.teacher, self.metadata = task, teacher, metadata

    @property
    def pictures(self) -> Pictures | None:
        """What draws the progress."""
        return self.task.pictures

    def learn(
        self, network: Forward, augment: Augment, batch: Batch, params: AugmentParameters
    ) -> tuple[Tensor, Tensor]:
        """Return logits and the answers of the teacher to the same images, NaN where the truth is not known."""
        answers: list[Tensor] = []

        def watched(images: Tensor, *further: Tensor) -> Tensor:
            answers.append(self._answer(images, batch, params))
            return network(images, *further)

        logits, truth = self.task.learn(watched, augment, batch, params)
        (answer,) = answers
        return logits, torch.where(self.task.unknown(truth), torch.nan, answer)

    def answer(self, network: Forward, batch: Batch) -> Tensor:
        """Return logits of the batch as validation sees it."""
        return self.task.answer(network, batch)

    def unknown(self, truth: Tensor) -> Tensor:
        """Return where the truth is not known."""
        return self.task.unknown(truth)

    def begin(self, device: torch.device) -> Scores:
        """Begin the metrics of a validation pass."""
        return self.task.begin(device)

    def score(self, loss: Tensor, logits: Tensor, batch: Batch) -> None:
        """Add a batch to the pass that was begun."""
        self.task.score(loss, logits, batch)

    def _answer(self, images: Tensor, batch: Batch, params: AugmentParameters) -> Tensor:
        self.teacher.to(images.device)
        table = None if self.metadata is None else torch.from_numpy(self.metadata[batch.rows[batch.picks]])
        parts = [] if table is None else [table.to(images.device)]
        if params.mixing is not None:
            parts = [mix_rows(part, params.mixing) for part in parts]
        with torch.no_grad():
            answer: Tensor = self.teacher(images, *parts)
        return answer.float()
