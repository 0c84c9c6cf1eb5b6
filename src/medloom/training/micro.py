"""Fewer images at a time through the network than a step has, and the same step: for when memory is short.

The batch is loaded and augmented whole, and its loss is taken over all its logits at once. In between, the network sees
the images a few at a time and keeps of each piece its logits alone; when the gradient comes back, it sees the piece
again. So the gradient is that of the whole batch up to rounding, whatever the loss is, in the memory of one piece and
in about a third more time. What a network itself takes over a batch is then of a piece: the statistics of batch
normalisation; and dropout draws other numbers.

Where memory may be too short, what two images keep is weighed before the first step, and no more are begun with than
find room: native code does not always survive an allocation that fails.

Source: Chen et al. 2016 (arXiv:1604.06174); Gao et al. 2021 (arXiv:2101.06983) for losses over a batch

Shapes: N images of a batch, C channels, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from medloom.errors import NoMemoryError
from medloom.memory import available_bytes, grant_again, is_out_of_memory
from medloom.training.allocator import return_freed_memory
from medloom.training.tasks import Forward
from medloom.wording import counted, size_text

__all__ = ["MicroBatches", "again_if_short", "kept_bytes", "normalises_by_batches"]

T = TypeVar("T")

_OVER_PIECES = "; the network normalises by batches, and these are then the images that it sees at a time"

_MAY_KEEP_BYTES = 4096
"""A pixel of an image seldom keeps more on its way through a network; with room for it nothing is weighed."""

_WEIGHED = 2
"""Images that are weighed: of a single one some networks can take no statistics."""

_BESIDE = 1.5
"""What a step takes at its largest, over what it keeps for the way back: gradients, and what an operation works in."""


class MicroBatches:
    """How many images go through a network at a time; fewer each time that memory runs out.

    Args:
        network: What is trained.
        batch_size: Images that a step has in this process.
        size: At most so many at a time in training; None for all.
        retries: Whether a step is tried again with fewer when memory runs out. Several processes do not: the others
            would wait for the one that does.
    """

    def __init__(self, network: nn.Module, batch_size: int, size: int | None = None, *, retries: bool = True) -> None:
        self.batch_size = batch_size
        self.size = size
        self.validation_size: int | None = None
        self.retries = retries
        self.tell: Callable[[str], object] = lambda text: None
        """Told in a sentence that fewer go through it from now on."""
        self.release: Callable[[], bool] = lambda: False
        """Gives memory of the device back that could be done without; whether there was any."""
        self._network = network
        self._state: list[Tensor] | None = None
        self._before: list[Tensor] = []
        self._unweighed = True

    @property
    def piece(self) -> int:
        """Images of a piece of a whole batch: pieces differ by one at most."""
        return -(-self.batch_size // self._pieces(self.batch_size, self.size))

    def text(self) -> str:
        """Return in a sentence that fewer images go through the network than a step has."""
        said = f"{self.piece} of {counted(self.batch_size, 'image')} of a step go through the network at a time"
        return said + self._over_pieces

    def take_up(self, known: Mapping[str, Any]) -> None:
        """Go on with what was found before, unless the recipe asks for fewer now.

        Args:
            known: ``micro_batch`` and ``validation_micro_batch`` of a checkpoint; earlier versions knew neither.
        """
        found = [size for size in (self.size, known.get("micro_batch")) if size is not None]
        self.size = min(found, default=None)
        self.validation_size = known.get("validation_micro_batch")

    def of(self, network: Forward, whole: Forward) -> Forward:
        """Return the forward pass of a training step, in pieces where they are smaller than the batch.

        Args:
            network: For any number of images.
            whole: The same for as many as a piece of a whole batch has, to which it may have been compiled.
        """

        def forward(images: Tensor, *further: Tensor) -> Tensor:
            if self._unweighed:
                self._weigh(network, images, further)
            count = self._pieces(len(images), self.size)
            if count == 1:
                return (whole if len(images) == self.piece else network)(images, *further)
            parts = zip(*(part.tensor_split(count) for part in (images, *further)), strict=True)
            return torch.cat([self._kept_little(whole if len(p[0]) == self.piece else network, p) for p in parts])

        return forward

    def of_validation(self, network: Forward) -> Forward:
        """Return the forward pass of a validation step, in fewer images at a time each time that memory runs out."""

        def forward(images: Tensor, *further: Tensor) -> Tensor:
            while True:
                count = self._pieces(len(images), self.validation_size)
                try:
                    parts = zip(*(part.tensor_split(count) for part in (images, *further)), strict=True)
                    return torch.cat([network(*part) for part in parts]) if count > 1 else network(images, *further)
                except (RuntimeError, MemoryError) as error:
                    self._refuse_others(error)
                    self.validation_size = self._halved(len(images), self.validation_size, "validation", error)
                _give_back()

        return forward

    def tried(self, step: Callable[[], Any], begin: Callable[[], object]) -> Any:  # noqa: ANN401 - what the step returns
        """Take a step forward and back; again with fewer images at a time while memory runs out.

        Args:
            step: Takes it, from the batch to the gradients.
            begin: Forgets the gradients of a step that came to nothing, and sets its random numbers anew.

        Raises:
            NoMemoryError: If memory runs out with a single image.
        """
        self._remember()
        while True:
            try:
                return step()
            except (RuntimeError, MemoryError) as error:
                self._refuse_others(error)
                # The error holds on to every tensor of the step until this block is left.
                if not (self.retries and self.release()):
                    self.size = self._halved(self.batch_size, self.size, "training", error)
            begin()
            self._restore()
            _give_back()

    def _weigh(self, network: Forward, images: Tensor, further: Sequence[Tensor]) -> None:
        """Before the first step on a CPU, take fewer images at a time where all of them would find no room."""
        self._unweighed = False
        room = available_bytes() if images.device.type == "cpu" and self.retries and self.size is None else None
        if room is None or images[:, 0].numel() * _MAY_KEEP_BYTES < room:
            return
        few = [part[:_WEIGHED] for part in (images, *further)]
        with torch.random.fork_rng(devices=[]), self._unmoved():
            each = _BESIDE * kept_bytes(self._network, network, *few) / len(few[0])
        _give_back()
        fitting = max(1, int(room / each)) if each else len(images)
        if fitting >= len(images):
            return
        self.size = self.validation_size = fitting  # beside what training keeps for its next step
        self.tell(
            f"a step of {counted(len(images), 'image')} would take about {size_text(int(each * len(images)))} of "
            f"memory, and {size_text(room)} are there; {self._fewer(self.piece, len(images))}"
        )

    def _fewer(self, at_a_time: int, images: int) -> str:
        text = f"from now on {at_a_time} at a time go through the network, which takes longer, and a step is of "
        return text + f"{counted(images, 'image')} as before" + self._over_pieces

    @property
    def _over_pieces(self) -> str:
        return _OVER_PIECES if normalises_by_batches(self._network) else ""

    def _halved(self, images: int, size: int | None, of: str, error: BaseException) -> int:
        """Return how many at a time are tried next."""
        now = min(size or images, images)
        if now == 1 or (of == "training" and not self.retries):
            raise NoMemoryError(now, of, str(error)) from error
        smaller = -(-now // 2)
        said = f"out of memory in {of} with {counted(now, 'image')} at a time; "
        now_on = f"from now on {smaller} at a time go through the network"
        self.tell(said + (self._fewer(smaller, images) if of == "training" else now_on))
        return smaller

    @staticmethod
    def _refuse_others(error: BaseException) -> None:
        """Raise what is no want of memory."""
        if not is_out_of_memory(error):
            raise error

    @staticmethod
    def _pieces(images: int, size: int | None) -> int:
        return 1 if size is None else max(1, -(-images // size))

    def _kept_little(self, network: Forward, piece: Sequence[Tensor]) -> Tensor:
        """Logits of a piece, of whose way through the network nothing else is kept."""
        answer: Tensor = checkpoint(network, *piece, use_reentrant=False, context_fn=self._contexts)
        return answer

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What surrounds the first look at a piece, and the second, from which no statistics are taken."""
        return nullcontext(), self._unmoved()

    @contextmanager
    def _unmoved(self) -> Iterator[None]:
        """Leave the buffers of the network as they were, such as running statistics."""
        before = [buffer.clone() for buffer in self._buffers]
        try:
            yield
        finally:  # the second look ends with an exception as soon as everything is known again
            _copy(self._buffers, before)

    def _remember(self) -> None:
        """Note the buffers before a step."""
        if len(self._before) != len(self._buffers):
            self._before = [buffer.clone() for buffer in self._buffers]
        else:
            _copy(self._before, self._buffers)

    def _restore(self) -> None:
        _copy(self._buffers, self._before)

    @property
    def _buffers(self) -> list[Tensor]:
        """Collected once they are on the device: walking the modules takes milliseconds."""
        if self._state is None:
            self._state = [buffer.detach() for buffer in self._network.buffers()]
        return self._state


def kept_bytes(network: nn.Module, forward: Forward, *inputs: Tensor) -> int:
    """Return how many bytes a network keeps of its inputs for the way back; its weights do not count.

    Args:
        network: Whose weights they are.
        forward: Its forward pass, with gradients to be taken.
        inputs: What it sees.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
        >>> kept_bytes(network, network, torch.zeros(2, 4))  # 2×4 numbers that go in and 2×8 that come out
        96
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in chain(network.parameters(), network.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        answer = forward(*inputs)  # held until all is noted, so that no place is used twice
    del answer
    return sum(size for place, size in kept.items() if place not in own)


def again_if_short(work: Callable[[], T]) -> T:
    """Do something small; if memory runs out, give back what steps have kept for the next one and do it once more.

    Args:
        work: What is done, which leaves nothing behind where it fails.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    _give_back()
    return work()


def normalises_by_batches(network: nn.Module) -> bool:
    """Return whether a network takes statistics over the images that it sees at a time."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def _copy(buffers: list[Tensor], values: list[Tensor]) -> None:
    if buffers:
        with torch.no_grad():
            torch._foreach_copy_(buffers, values)


def _give_back() -> None:
    """Let go of freed memory that is kept for the next step: it may lie in pieces that are too small."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return_freed_memory()
    grant_again()
