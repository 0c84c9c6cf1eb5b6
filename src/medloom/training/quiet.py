"""Lightning's messages, silenced one by one: Medloom says itself what a user must know."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_lightning"]

_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning_utilities")
_EXPECTED = (
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",  # our loader resumes by position
    r".*in eval mode at the start of training.*",  # batch norms of frozen blocks
    r".*GPU available but not used.*",  # the recipe said so
    r".*CUDAGraph supports dynamic shapes.*",  # torch.compile and the last, smaller batch
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning 2.6 on torch 2.13
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's information and the warnings that do not apply here, inside the block."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
