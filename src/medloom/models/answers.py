"""From a classifier's logits to what the user gets: probabilities, or the numbers themselves."""

from __future__ import annotations

from torch import Tensor

from medloom.models.registry import LabelKind

__all__ = ["probabilities"]


def probabilities(logits: Tensor, kind: LabelKind) -> Tensor:
    """Return probabilities; for ``real``, the numbers as they are.

    Args:
        logits: ``(N, K)``, any float dtype.
        kind: What a label is.

    Returns:
        ``(N, K)`` float32. ``binary`` and ``multi-label``: each in 0..1; ``multi-class``: rows that sum to 1.

    Example:
        >>> probabilities(torch.tensor([[0.0]]), "binary")
        tensor([[0.5000]])
    """
    logits = logits.float()
    if kind == "real":
        return logits
    return logits.softmax(dim=1) if kind == "multi-class" else logits.sigmoid()
