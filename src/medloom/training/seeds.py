"""Randomness as pure functions of the seed and the position, so that a resumed run needs no generator's state."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["epoch_order", "seed_device", "step_generator", "step_seed"]

_ORDER, _STEP = 1, 2


def epoch_order(
    positive: NDArray[np.bool_], seed: int, epoch: int, positive_share: float | None = None
) -> NDArray[np.int64]:
    """Return which training samples an epoch visits, in order.

    Without ``positive_share`` every sample comes once. With it, as many samples are drawn as there are, and
    ``positive_share`` of them are positive: every one of a group comes before any of it comes again.

    Args:
        positive: ``(N,)``, whether a sample holds foreground, or is not of the first class.
        seed: The recipe's seed.
        epoch: From 0.
        positive_share: Share of the drawn samples that are positive, in 0..1, or None.

    Returns:
        ``(N,)`` positions in ``positive``.

    Example:
        >>> sorted(epoch_order(np.array([True, False, False]), seed=0, epoch=0).tolist())
        [0, 1, 2]
    """
    generator = np.random.default_rng([_ORDER, seed, epoch])
    count = len(positive)
    if positive_share is None:
        return generator.permutation(count)
    wanted = min(max(round(positive_share * count), 1), count - 1)
    positives = _draw(np.flatnonzero(positive), wanted, generator)
    negatives = _draw(np.flatnonzero(~positive), count - wanted, generator)
    return generator.permutation(np.concatenate([positives, negatives]))


def _draw(group: NDArray[np.int64], count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw ``count`` of a group, going through all of it as often as that takes."""
    rounds = [generator.permutation(group) for _ in range(-(-count // len(group)))]
    return np.concatenate(rounds)[:count]


@lru_cache(maxsize=8)  # a step asks for its own several times
def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Return the seed of one step, in 0..2**63-1, for the network's own randomness such as dropout."""
    return int(np.random.SeedSequence([_STEP, seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the generator of one step's augmentation, the same in every process."""
    return torch.Generator().manual_seed(step_seed(seed, step))


def seed_device(device: torch.device, seed: int) -> None:
    """Seed what draws the network's own randomness; ``torch.manual_seed`` walks the stack, too slow for every step."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
