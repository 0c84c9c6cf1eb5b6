"""The process from which a fence's workers are forked: it has imported every decoder and reads nothing from outside.

Run as ``python -m medloom.imaging.fence.host CONTROL GROWTH DECODE READ_VOLUME READ_SOURCES``. It has one thread, so
forking it is safe, and takes milliseconds. It knows its workers as their parent, so that none is ever mistaken for
another process, and takes them with it when the fence is gone, however that ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from medloom.errors import DecodeError
from medloom.imaging.dicom_sources import Sources
from medloom.imaging.fence.wire import (
    BEGIN,
    IMAGE,
    NOTHING,
    ORDER,
    REPLY,
    SOURCES,
    VOLUME,
    Wire,
    error_header,
    image_header,
    sources_bytes,
    volume_header,
)
from medloom.imaging.registry import available_codecs
from medloom.imaging.types import Budget, Image, Volume

__all__ = ["fence_in", "main"]

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4

Read = Callable[..., Image | Volume | Sources | None]


def main(arguments: Sequence[str]) -> None:
    """Start and end workers as ordered, until the other end of the control socket is closed.

    Args:
        arguments: Number of the control socket, by how many bytes a worker's address space may grow,
            ``module:function`` that decodes an image, and the same for what reads a volume and for what reads whose
            images they are, each empty where nothing does.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to a whole group; the fence's owner says when to end
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=int(arguments[0]))
    reads = {what: _load(name) for what, name in zip((IMAGE, VOLUME, SOURCES), arguments[2:], strict=True) if name}
    available_codecs()  # loads the native libraries, once for all workers
    gc.freeze()
    workers: set[int] = set()
    with contextlib.suppress(ConnectionError):
        while (order := _receive(control)) is not None:
            what, process, ends = order
            if what == BEGIN:
                process = _fork(control, ends, reads, int(arguments[1]))
                workers.add(process)
            elif process in workers:
                workers.remove(process)
                _end(process)
            control.sendall(REPLY.pack(process))
    for process in workers - {0}:
        _end(process)


def _load(target: str) -> Read:
    module, _, name = target.partition(":")
    return cast(Read, getattr(importlib.import_module(module), name))


def _receive(control: socket.socket) -> tuple[bytes, int, list[int]] | None:
    data, ends, _, _ = socket.recv_fds(control, ORDER.size, 1)
    return (*ORDER.unpack(data), ends) if len(data) == ORDER.size else None


def _fork(control: socket.socket, ends: Sequence[int], reads: Mapping[str, Read], growth_bytes: int) -> int:
    """Start a worker at the other end of a socket; 0 if the system refuses."""
    try:
        process = os.fork()
    except OSError:
        process = -1
    if process == 0:
        control.close()
        _work(Wire(socket.socket(fileno=ends[0])), reads, growth_bytes)
    for end in ends:
        os.close(end)
    return max(process, 0)


def _end(process: int) -> None:
    os.kill(process, signal.SIGKILL)  # its number is taken until it has been waited for
    os.waitpid(process, 0)


def _work(wire: Wire, reads: Mapping[str, Read], growth_bytes: int) -> NoReturn:
    """Answer until the other end is closed, and end without running anything that the host has set up."""
    try:
        fence_in(growth_bytes)
        while True:
            header, length = wire.receive_header()
            data = bytearray(length)
            wire.receive_into(memoryview(data))
            wire.send(*_answer(reads, bytes(data), header))
    finally:
        os._exit(0)


def _answer(reads: Mapping[str, Read], data: bytes, options: dict[str, Any]) -> tuple[dict[str, Any], memoryview]:
    read = reads[options.pop("what")]
    options["budget"] = Budget(**options["budget"])
    if options.get("at_least"):
        options["at_least"] = tuple(options["at_least"])
    try:
        found = read(data, **options)
        if found is None:
            return {NOTHING: True}, memoryview(b"")
        if isinstance(found, Sources):
            header, body = sources_bytes(found)
            return header, memoryview(body)
        if isinstance(found, Volume):
            return volume_header(found), found.voxels.reshape(-1).view("u1").data
        return image_header(found), found.pixels.reshape(-1).view("u1").data
    except DecodeError as error:
        return error_header(error), memoryview(b"")
    except MemoryError:
        return error_header(DecodeError("too_large", "there is not enough memory to decode it")), memoryview(b"")


def fence_in(growth_bytes: int) -> None:
    """Limit this process: memory (on Linux), no core dump, and it ends with the one that started it.

    Args:
        growth_bytes: By how much its address space may grow from now on.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_DUMPABLE, 0)  # RLIMIT_CORE is not asked where dumps are piped to a program
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
        most = pages * resource.getpagesize() + growth_bytes
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main(sys.argv[1:])
