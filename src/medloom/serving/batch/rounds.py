"""The network of many files at a time: the files of a piece ask it in step, and each round is one batch.

Several small calls with a thread or two each take less time than one after the other with all threads, which wait for
each other at every layer. So where the runtime allows it the rounds of several pieces are run at a time.

A file's thread decodes, asks, and writes as if it were alone. Its piece waits until every file of it has asked or is
done, and then the network is run on what they ask, in their order. So a file's neighbours in a batch, on which the last
digit of its answer may depend, are the same in every run, however fast the files were read.

Shapes: N images, C channels, F columns of metadata, h and w of the network's grid.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medloom.inference.in_memory import run_in_memory
from medloom.inference.runtimes import Runtime, members_of, run_with_features
from medloom.inference.runtimes.graph import available_threads

__all__ = ["Network", "Piece", "Seat", "shared_out"]

Floats32 = NDArray[np.float32]

_RUN, _MEMBERS, _FEATURES = "run", "members", "run_with_features"
"""What is asked of a runtime, as its methods are called."""


class StoppedError(RuntimeError):
    """The work was given up; nothing more is run."""


@dataclass(frozen=True, eq=False)
class _Question:
    """What a file asks.

    Args:
        what: ``run``, ``members`` for the answer of each network of an ensemble, or ``run_with_features``.
        batch_nchw: Images.
        table_nf: Metadata, or None.
        answer: Where the answer is waited for.
    """

    what: str
    batch_nchw: Floats32
    table_nf: Floats32 | None
    answer: Future[Any] = field(default_factory=Future)

    @property
    def alike(self) -> tuple[object, ...]:
        """What questions have in common that are answered together."""
        table = None if self.table_nf is None else self.table_nf.shape[1:]
        return self.what, self.batch_nchw.shape[1:], table


_MOST_CALLS = 4
"""At a time, for each takes the memory of a batch."""


def shared_out(runtime: str, threads: int | None, providers: Sequence[str] | None) -> tuple[int, int | None]:
    """Return how many calls of a network are made at a time, and how many threads each has.

    Args:
        runtime: Name of the runtime.
        threads: Of all calls together; None for all cores.
        providers: What the runtime computes with; None for the processor.

    Example:
        >>> shared_out("onnx", 8, None), shared_out("onnx", 8, ["CUDAExecutionProvider"]), shared_out("torch", 8, None)
        ((4, 2), (1, 8), (1, 8))
    """
    if runtime != "onnx" or providers:
        return 1, threads
    total = threads or available_threads()
    calls = min(total, _MOST_CALLS)
    return calls, total // calls


class Network:
    """Runs a network on batches of no more than so many images, in a thread for each call. A context manager.

    Args:
        runtime: What runs it.
        batch_size: Images in one call.
        calls: How many are made at a time.
    """

    def __init__(self, runtime: Runtime, batch_size: int, calls: int = 1) -> None:
        self.runtime, self.batch_size = runtime, batch_size
        self._thread = ThreadPoolExecutor(calls, "network")
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._thread.shutdown()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is run."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Run nothing more; who waits for an answer is told."""
        self._stopped.set()

    def ask(self, questions: Sequence[_Question]) -> None:
        """Answer questions when those before are answered; returns at once."""
        self._thread.submit(self._answer, questions)

    def _answer(self, questions: Sequence[_Question]) -> None:
        groups: dict[tuple[object, ...], list[_Question]] = {}
        for one in questions:
            groups.setdefault(one.alike, []).append(one)
        for group in groups.values():
            for start in range(0, len(group), self.batch_size):
                self._together(group[start : start + self.batch_size])

    def _together(self, questions: Sequence[_Question]) -> None:
        try:
            if self.is_stopped:
                raise StoppedError("the work was stopped")
            tables = [one.table_nf for one in questions if one.table_nf is not None]
            batch = np.concatenate([one.batch_nchw for one in questions])
            cuts = np.cumsum([len(one.batch_nchw) for one in questions])[:-1]
            answers = self._run(questions[0].what, batch, np.concatenate(tables) if tables else None, cuts)
            for one, own in zip(questions, answers, strict=True):
                one.answer.set_result(own)
        except BaseException as error:
            for one in questions:
                if not one.answer.done():
                    one.answer.set_exception(error)

    def _run(
        self, what: str, batch_nchw: Floats32, table_nf: Floats32 | None, cuts: NDArray[np.int64]
    ) -> Sequence[Any]:
        """The answers to questions whose images begin at ``cuts``."""
        if what == _MEMBERS:
            return np.split(members_of(self.runtime, batch_nchw, table_nf), cuts, axis=1)
        if what == _RUN:
            return np.split(run_in_memory(self.runtime.run, batch_nchw, table_nf), cuts)
        kept: list[Floats32 | None] = []

        def ask(images: Floats32, table: Floats32 | None) -> Floats32:
            answer, features = run_with_features(self.runtime, images, table)
            kept.append(features)
            return answer

        answers = np.split(run_in_memory(ask, batch_nchw, table_nf), cuts)
        found = [one for one in kept if one is not None]
        features = np.split(np.concatenate(found), cuts) if found else [None] * len(answers)
        return list(zip(answers, features, strict=True))


class Piece:
    """The files that ask in step.

    Args:
        network: What answers.
        files: How many there are; each takes its seat by its number, and leaves it when it is done.
    """

    def __init__(self, network: Network, files: int) -> None:
        self._network = network
        self._there = files
        self._waiting: dict[int, _Question] = {}
        self._lock = threading.Lock()

    def ask(self, number: int, question: _Question) -> Any:  # noqa: ANN401 - what that method of a runtime returns
        """Wait for the round of a file and return its answer."""
        with self._lock:
            self._waiting[number] = question
            self._go_on()
        return question.answer.result()

    def leave(self) -> bool:
        """Count a file as done; returns whether it was the last."""
        with self._lock:
            self._there -= 1
            self._go_on()
            return self._there == 0

    def _go_on(self) -> None:
        if self._waiting and len(self._waiting) == self._there:
            questions = [self._waiting[number] for number in sorted(self._waiting)]
            self._waiting.clear()
            self._network.ask(questions)


class Seat:
    """A runtime for one file of a piece; its answers are those of rounds.

    Args:
        piece: The piece.
        number: Which of its files.
        runtime: What runs the network.
    """

    def __init__(self, piece: Piece, number: int, runtime: Runtime) -> None:
        self._piece, self._number = piece, number
        self.name = runtime.name
        for method in (_MEMBERS, _FEATURES):  # which not every runtime has, and who asks looks whether it is there
            if hasattr(runtime, method):
                setattr(self, method, partial(self._ask, method))

    def run(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32:
        """Return what the network answers; see ``Runtime.run``."""
        answer: Floats32 = self._ask(_RUN, batch_nchw, table_nf)
        return answer

    def _ask(self, what: str, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Any:  # noqa: ANN401 - as above
        return self._piece.ask(self._number, _Question(what, batch_nchw, table_nf))
