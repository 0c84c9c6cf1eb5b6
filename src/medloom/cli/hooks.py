"""``--hook``: a user's own rules in a training, also in those that other processes do for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from medloom.extras import require

__all__ = ["HookOption", "rules_hooked"]

HookOption = Annotated[
    list[str] | None,
    typer.Option(
        "--hook",
        metavar="FILE.py:CLASS",
        help="A rule of your own that watches the training, or is told of what rules find; may be given several times.",
    ),
]


@contextmanager
def rules_hooked(hooks: Sequence[str] | None) -> Iterator[None]:
    """Let trainings in the block use hooks; without any nothing is imported.

    Raises:
        UserError: If one cannot be loaded.
    """
    if not hooks:
        yield
        return
    require("torch", "train")
    from medloom.training.diagnosis.hooks import hooked

    with hooked(hooks):
        yield
