"""A batch in as many pieces as it takes where memory is short: an answer to an image does not depend on the others.

Shapes: N images of a batch, C channels, K outputs, F columns of metadata, h and w of the network's grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import NoMemoryError
from medloom.memory import is_out_of_memory

__all__ = ["run_in_memory"]

Floats32 = NDArray[np.float32]

_ADVICE = "take a machine or GPU with more memory"


def run_in_memory(
    run: Callable[[Floats32, Floats32 | None], Floats32], batch_nchw: Floats32, table_nf: Floats32 | None
) -> Floats32:
    """Run a network over a batch; over halves of it, and so on, where memory runs out.

    Args:
        run: A runtime's ``run``.
        batch_nchw: ``(N, C, h, w)`` float32.
        table_nf: ``(N, F)`` float32, or None.

    Returns:
        What ``run`` returns of the whole batch.

    Raises:
        NoMemoryError: If memory runs out with one image.

    Example:
        >>> def short(batch, table):
        ...     if len(batch) > 2:
        ...         raise MemoryError
        ...     return batch.sum(axis=(2, 3))
        >>> run_in_memory(short, np.ones((5, 1, 2, 2), np.float32), None).ravel().tolist()
        [4.0, 4.0, 4.0, 4.0, 4.0]
    """
    count = len(batch_nchw)
    try:
        return run(batch_nchw, table_nf)
    except Exception as error:  # each runtime has errors of its own
        if not is_out_of_memory(error):
            raise
        if count == 1:
            raise NoMemoryError(1, "prediction", str(error), _ADVICE) from error
    tables: list[Any] = [None, None] if table_nf is None else np.array_split(table_nf, 2)
    halves = zip(np.array_split(batch_nchw, 2), tables, strict=True)
    return np.concatenate([run_in_memory(run, *half) for half in halves])
