"""The random numbers of a whole batch for a worker that sees a part of it.

Dropout draws for each image in turn. A worker that drew for its own images alone would drop something else than one
process with the whole batch does, and something else again when the batch is cut in another way. So it draws for all
images and takes what is for its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["DrawnAsWhole"]

_DROPPING = (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)
"""What multiplies its input by something random; ``feature_dropout`` is called by the last three."""


class DrawnAsWhole(TorchFunctionMode):
    """Inside, what is dropped from a part of a batch is what is dropped from it in the whole.

    It holds for dropout, also of whole feature maps or whole paths, wherever the first axis goes along the images.

    Args:
        first: First image of the part.
        count: Images of the part.
        whole: Images of the batch.

    Example:
        >>> ones = torch.ones(6, 2)
        >>> _ = torch.manual_seed(0)
        >>> whole = functional.dropout(ones)
        >>> _ = torch.manual_seed(0)
        >>> with DrawnAsWhole(4, 2, 6):
        ...     part = functional.dropout(ones[4:])
        >>> torch.equal(part, whole[4:])
        True
    """

    def __init__(self, first: int, count: int, whole: int) -> None:
        super().__init__()
        self.first, self.count, self.whole = first, count, whole

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        """Call a function; what draws, for the whole batch."""
        kwargs = kwargs or {}
        given = args[0] if args else None
        if not isinstance(given, Tensor) or given.dim() == 0 or len(given) % self.count:
            return func(*args, **kwargs)
        if func in _DROPPING:
            return self._dropped(func, given, *args[1:], **kwargs)
        if func is Tensor.bernoulli_:
            return given.copy_(self._mine(self._of_all(given).bernoulli_(*args[1:], **kwargs), given))
        return func(*args, **kwargs)

    def _dropped(
        self, func: Callable[..., Tensor], given: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0:
            return given
        kept = self._mine(func(self._of_all(given).fill_(1), p, True, False), given)
        return given.mul_(kept) if inplace else given * kept

    def _of_all(self, given: Tensor) -> Tensor:
        """An empty tensor for the whole batch that lies in memory as the part does."""
        shape = (len(given) // self.count * self.whole, *given.shape[1:])
        last = given.dim() == 4 and given.is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if last and not given.is_contiguous() else torch.contiguous_format
        return torch.empty(shape, dtype=given.dtype, device=given.device, memory_format=order)

    def _mine(self, drawn: Tensor, given: Tensor) -> Tensor:
        """The rows of the part, of which an image may have several, one behind the other."""
        each = len(given) // self.count
        return drawn[each * self.first : each * (self.first + self.count)]
