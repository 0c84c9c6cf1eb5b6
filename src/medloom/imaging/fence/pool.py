"""The fence as its user sees it: `DecodeFence.decode` in place of `medloom.imaging.decode`."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self, TypeVar

from medloom.errors import DecodeError
from medloom.imaging.dicom_sources import Sources
from medloom.imaging.fence.wire import (
    BEGIN,
    END,
    IMAGE,
    NOTHING,
    ORDER,
    REPLY,
    SOURCES,
    VOLUME,
    Wire,
    error_of,
    image_of,
    new_pixels,
    sources_of,
    volume_of,
)
from medloom.imaging.types import DEFAULT_BUDGET, Budget, Image, NanPolicy, Pixels, Volume

__all__ = ["DecodeFence"]

Found = TypeVar("Found", Image, Volume, Sources)
PutTogether = Callable[[Mapping[str, Any], Pixels], Found]

_HOST = "medloom.imaging.fence.host"
_START_S = 60.0
_CLOSE_S = 5.0
_VOLUME_TIMES = 4
_MOST_ANSWERS = 1000
"""After as many images a worker is replaced, so that what decoders leak is bounded."""


class DecodeFence:
    """Decodes in processes of their own, so that no image can end, hang or starve the process that asks.

    A worker that crashes, takes too long or asks for too much memory is killed and replaced, and its image is
    refused; the next image is decoded as ever. Threads may share a fence. Close it, or use it in a ``with`` block;
    its processes end also when their owner is killed.

    Args:
        workers: Images decoded at the same time; further callers wait.
        limit_s: Seconds for one image, with the way there and back.
        growth_bytes: By how much a worker's address space may grow; enforced on Linux.
        target: ``module:function`` that decodes as `medloom.imaging.decode` does.
        volumes: ``module:function`` that takes bytes, ``content_type``, ``series`` and ``budget`` and returns a volume
            or None, such as ``medloom.data.whole:read_whole``; empty if no volume is read.
        sources: ``module:function`` that reads what DICOM images hand on to what is made from them, as
            ``medloom.data.whole:read_sources`` does; empty if nothing is.

    Example:
        >>> with DecodeFence() as fence:  # doctest: +SKIP
        ...     predictor = replace(medloom.load("model.tar.gz"), decoder=fence.decode)
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        limit_s: float = 5.0,
        growth_bytes: int = 2**30,
        target: str = "medloom.imaging:decode",
        volumes: str = "",
        sources: str = "",
    ) -> None:
        self._limit_s = limit_s
        self._host = _Host(growth_bytes, [target, volumes, sources])
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        for _ in range(workers):
            self._idle.put(None)  # started when first needed: that takes milliseconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def decode(
        self,
        data: bytes,
        *,
        content_type: str | None = None,
        page: int | None = None,
        nan_policy: NanPolicy = "reject",
        budget: Budget = DEFAULT_BUDGET,
        at_least: tuple[int, int] | None = None,
    ) -> Image:
        """Decode an image as `medloom.imaging.decode` does, with the same arguments and the same result.

        Raises:
            DecodeError: Whatever is wrong with the input; ``too_slow`` if it took too long, ``decoder_failed`` if
                the decoder crashed.
        """
        options = {
            "what": IMAGE,
            "content_type": content_type,
            "page": page,
            "nan_policy": nan_policy,
            "budget": asdict(budget),
            "at_least": at_least,
        }
        found = self._read(data, options, budget, self._limit_s, image_of)
        if found is None:
            raise DecodeError("decoder_failed", "the decoder gave no image")
        return found

    def read_volume(
        self,
        data: bytes,
        *,
        content_type: str | None = None,
        series: str | None = None,
        budget: Budget = DEFAULT_BUDGET,
    ) -> Volume | None:
        """Read a volume; None for an image. It may take four times as long as an image.

        Raises:
            DecodeError: As for ``decode``.
        """
        options = {"what": VOLUME, "content_type": content_type, "series": series, "budget": asdict(budget)}
        return self._read(data, options, budget, _VOLUME_TIMES * self._limit_s, volume_of)

    def read_sources(
        self,
        data: bytes,
        *,
        content_type: str | None = None,
        series: str | None = None,
        page: int | None = None,
        whole: bool = False,
        budget: Budget = DEFAULT_BUDGET,
    ) -> Sources | None:
        """Read what DICOM bytes hand on to what is made from them; None where they are no DICOM.

        Raises:
            DecodeError: As for ``decode``, and where they lack what must be repeated.
        """
        options = {
            "what": SOURCES,
            "content_type": content_type,
            "series": series,
            "page": page,
            "whole": whole,
            "budget": asdict(budget),
        }
        return self._read(data, options, budget, _VOLUME_TIMES * self._limit_s, sources_of)

    def _read(
        self, data: bytes, options: dict[str, Any], budget: Budget, limit_s: float, put_together: PutTogether[Found]
    ) -> Found | None:
        with self._worker() as worker:
            return worker.read(data, options, budget.max_decoded_bytes, limit_s, put_together)

    def close(self) -> None:
        """End all workers; images that are being decoded are refused."""
        self._host.close()
        for _ in range(self._idle.qsize()):
            worker = self._idle.get()
            if worker is not None:
                worker.wire.close()
            self._idle.put(None)  # for whoever waits, to be refused

    @contextmanager
    def _worker(self) -> Iterator[_Worker]:
        """Lend a worker that is well, and take care of it afterwards."""
        worker = self._idle.get()
        try:
            if worker is None or not worker.well:
                worker = self._replaced(worker)
            if worker is None:
                raise DecodeError("decoder_failed", "no decoder could be started", hint="Send the image again.")
            yield worker
        finally:
            if worker is not None and (worker.busy or worker.answers >= _MOST_ANSWERS):
                worker = self._replaced(worker)
            self._idle.put(worker)

    def _replaced(self, worker: _Worker | None) -> _Worker | None:
        """End a worker and start another; None if that cannot be done now."""
        if worker is not None:
            worker.wire.close()
            with suppress(OSError):  # if the host is gone, so is the worker
                self._host.end(worker.process)
        try:
            return self._host.begin()
        except OSError:
            return None


class _Worker:
    """The other end of one worker process.

    Args:
        process: Its number.
        wire: Our end of the connection.
    """

    def __init__(self, process: int, wire: Wire) -> None:
        self.process = process
        self.wire = wire
        self.busy = False
        """Also after anything went wrong: what it says next would be no answer to the next question."""
        self.answers = 0

    @property
    def well(self) -> bool:
        """Whether it waits for a question."""
        return not self.busy and self.wire.silent

    def read(
        self,
        data: bytes,
        options: dict[str, Any],
        most_bytes: int,
        limit_s: float,
        put_together: PutTogether[Found],
    ) -> Found | None:
        deadline = time.monotonic() + limit_s
        self.busy = True
        try:
            self.wire.send(options, memoryview(data), deadline)
            answer = self._answer(most_bytes, deadline, put_together)
        except TimeoutError as error:
            message = f"the image was not decoded within {limit_s:g} s"
            raise DecodeError("too_slow", message, hint="Export it again, smaller or in another format.") from error
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            message = "the decoder failed at this image and was replaced"
            raise DecodeError("decoder_failed", message, hint="The file is damaged; export it again.") from error
        self.busy = False
        self.answers += 1
        if isinstance(answer, DecodeError):
            raise answer
        return answer

    def _answer(self, most_bytes: int, deadline: float, put_together: PutTogether[Found]) -> Found | DecodeError | None:
        header, length = self.wire.receive_header(deadline)
        if "code" in header:
            return error_of(header)
        if NOTHING in header:
            return None
        pixels = new_pixels(header, length, most_bytes)
        self.wire.receive_into(pixels.reshape(-1).view("u1").data, deadline)
        return put_together(header, pixels)


class _Host:
    """The process that workers are forked from; started anew should it be gone."""

    def __init__(self, growth_bytes: int, targets: Sequence[str]) -> None:
        self._arguments = (str(growth_bytes), *targets)
        self._lock = threading.Lock()
        self._closed = False
        self._start()

    def begin(self) -> _Worker:
        """Start a worker.

        Raises:
            OSError: If that cannot be done.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = self._ask(BEGIN, 0, theirs)
            except OSError:
                ours.close()
                raise
        return _Worker(process, Wire(ours))

    def end(self, process: int) -> None:
        """Kill a worker.

        Raises:
            OSError: If the host cannot be reached; its workers ended with it.
        """
        self._ask(END, process)

    def close(self) -> None:
        """End the host, and with it every worker."""
        with self._lock:
            self._closed = True
            self._stop()

    def _ask(self, what: bytes, process: int, end: socket.socket | None = None) -> int:
        with self._lock:
            if self._closed:
                raise ConnectionError("the fence is closed")
            if self._popen.poll() is not None:
                self._stop()
                self._start()
            try:
                socket.send_fds(self._control, [ORDER.pack(what, process)], [end.fileno()] if end else [])
                reply = self._control.recv(REPLY.size)
            except OSError:
                self._popen.kill()  # its replies would no longer belong to the orders
                raise
        number = REPLY.unpack(reply)[0] if reply else 0
        if not number:
            raise ConnectionError("no process could be started")
        return int(number)

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_START_S)
        with theirs:
            # -P: nothing more is imported from the working folder. A warning may quote the file, so there are none.
            command = [sys.executable, "-P", "-W", "ignore", "-m", _HOST, str(theirs.fileno()), *self._arguments]
            self._popen = subprocess.Popen(  # noqa: S603 - this interpreter, and a module of ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=[theirs.fileno()],
            )

    def _stop(self) -> None:
        self._control.close()
        try:
            self._popen.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


def _environment() -> dict[str, str]:
    """Modules are found as here; one thread, because a process with several cannot be forked safely."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **threads}
