"""Many inputs through a model: read and written by several threads, the network in one, memory bounded.

Inputs are taken in pieces of a few that follow one another. Some pieces are under way at a time: while the network is
at one, the next is decoded and the one before is written.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from medloom.inference.inputs import Entry
from medloom.inference.metadata import Metadata
from medloom.inference.writers import KINDS, Asked, FileResult
from medloom.serving.batch.rounds import Network, Piece, Seat

__all__ = ["BATCH_SIZE", "Done", "Input", "each_piece"]

BATCH_SIZE = 16
"""Images that go through the network together, and inputs of a piece."""

_BESIDE = 2
"""Pieces under way beside those that are with the network: one is decoded, one is written."""

_PIECE_BYTES = 64 * 2**20
"""Encoded bytes from which a piece is full, so that of volumes there are a few in memory and not many."""


@dataclass(frozen=True)
class Input:
    """Something to predict.

    Args:
        number: Its place in the listing, from 0.
        entry: What reads it.
        metadata: Values by column.
        name: What its files are called, without an ending.
        stamp: What changes when it changes.
        problem: Why it cannot be predicted, where that is known beforehand.
    """

    number: int
    entry: Entry
    metadata: Metadata
    name: str = ""
    stamp: str = ""
    problem: Exception | None = None

    @property
    def encoded_bytes(self) -> int:
        """Bytes of its file, as far as its stamp says."""
        size = self.stamp.partition(":")[0]
        return int(size) if size.isdigit() else 0


@dataclass(frozen=True)
class Done:
    """An input with what came of it: one result for each image or page."""

    input: Input
    results: Sequence[FileResult]


@dataclass
class _Flying:
    """A piece under way."""

    inputs: Sequence[Input]
    done: dict[int, Done] = field(default_factory=dict)
    failure: BaseException | None = None


def each_piece(
    asked: Asked,
    inputs: Iterable[Input],
    *,
    batch_size: int = BATCH_SIZE,
    calls: int = 1,
    is_done: Callable[[Input], bool] = lambda _: False,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Iterator[Sequence[Done]]:
    """Predict inputs and yield them by the piece, as each piece is done; inside a piece they are in order.

    Args:
        asked: What is asked of every input.
        inputs: What to predict, in order.
        batch_size: Images in one call of the network, and inputs in a piece.
        calls: How many calls are made at a time.
        is_done: Whether an input was predicted before. It has its place in a piece all the same, so that the others
            have theirs.
        is_wanted: Asked before each piece whether to begin it; those that are under way are finished.

    Raises:
        MedloomError: Whatever concerns more than one input, such as a full disk; what was finished by then is yielded
            first.
    """
    most = calls + _BESIDE
    with Network(asked.predictor.runtime, batch_size, calls) as network:
        crew = ThreadPoolExecutor(batch_size * most, "file")
        try:
            yield from _flown(asked, _undone(inputs, batch_size, is_done), network, crew, most, is_wanted)
        finally:
            network.stop()
            crew.shutdown()


def _flown(
    asked: Asked,
    pieces: Iterator[Sequence[Input]],
    network: Network,
    crew: ThreadPoolExecutor,
    most: int,
    is_wanted: Callable[[], bool],
) -> Iterator[Sequence[Done]]:
    finished: queue.SimpleQueue[_Flying] = queue.SimpleQueue()
    under_way, failure = 0, None
    while True:
        while under_way < most and failure is None and is_wanted() and (inputs := next(pieces, None)):
            _begin(asked, inputs, network, crew, finished)
            under_way += 1
        if not under_way:
            break
        flying = finished.get()
        under_way -= 1
        if flying.failure is None:
            yield [flying.done[one.number] for one in flying.inputs]
        failure = failure or flying.failure
    if failure is not None:
        raise failure


def _begin(
    asked: Asked,
    inputs: Sequence[Input],
    network: Network,
    crew: ThreadPoolExecutor,
    finished: queue.SimpleQueue[_Flying],
) -> None:
    flying, piece = _Flying(inputs), Piece(network, len(inputs))

    def work(seat: int, given: Input) -> None:
        predictor = asked.predictor
        own = replace(asked, predictor=replace(predictor, runtime=Seat(piece, seat, predictor.runtime)))
        try:
            flying.done[given.number] = Done(given, _results(own, given, network))
        except BaseException as error:
            flying.failure = error
        if piece.leave():
            finished.put(flying)

    for seat, given in enumerate(inputs):
        crew.submit(work, seat, given)


def _results(asked: Asked, given: Input, network: Network) -> Sequence[FileResult]:
    writer = KINDS[asked.predictor.target.kind]
    if given.problem is not None or network.is_stopped:
        return [writer.failed(given.entry, asked.page, given.problem or RuntimeError("stopped"))]
    return writer.predict(asked, given.entry, given.metadata, given.name)


def _undone(inputs: Iterable[Input], most: int, is_done: Callable[[Input], bool]) -> Iterator[Sequence[Input]]:
    for piece in _pieces(inputs, most):
        if left := [one for one in piece if not is_done(one)]:
            yield left


def _pieces(inputs: Iterable[Input], most: int) -> Iterator[Sequence[Input]]:
    """Parts of the work; which inputs are in one depends on them and their sizes alone."""
    piece: list[Input] = []
    size = 0
    for one in inputs:
        if piece and (len(piece) >= most or size + one.encoded_bytes > _PIECE_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(one)
        size += one.encoded_bytes
    if piece:
        yield piece
