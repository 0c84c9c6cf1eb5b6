"""How much memory there is and was used, what says that it ran out, and what is then said to the user."""

from __future__ import annotations

import contextlib
import mmap
import re
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from medloom.errors import MedloomError

__all__ = [
    "ADVICE",
    "available_bytes",
    "grant_again",
    "is_out_of_memory",
    "kept_within_memory",
    "killed_text",
    "peak_rss_bytes",
    "reachable_bytes",
]

ADVICE = (
    "take a smaller train.batch_size, or train.micro_batch, which lets fewer images through the network at a time and "
    "leaves the step what it is; a smaller preprocess.size or network takes less, too"
)

_SAID = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory|bad_?alloc|bad allocation"
    r"|failed to allocate memory|unable to allocate|^could not (create|execute) a (primitive|memory object)",
    re.IGNORECASE,
)
"""What PyTorch, ONNX Runtime, OpenVINO and NumPy say of it in errors of a general kind; the last is oneDNN's, which
says no more."""

_GENERAL = (RuntimeError, MedloomError, OSError)

_SHARE = 0.95
"""Of the memory that is available, what a training may take before it is told that there is no more."""

_HELD_BACK = 16 * 2**20

_held_back: list[mmap.mmap] = []
"""Pages that nobody writes to, so that they count for the limit and take no memory."""

_granted: list[tuple[tuple[int, int], int]] = []
"""The limits as they were before, and how many share what is available."""

_CGROUPS = {
    "": (("memory.max", "memory.current"), Path("/sys/fs/cgroup")),
    "memory": (("memory.limit_in_bytes", "memory.usage_in_bytes"), Path("/sys/fs/cgroup/memory")),
}
"""Of version 2, which has no name for the memory alone, and version 1: files that say what a group may use and what it
uses, and where the groups are."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or what it came from, is that memory ran out, of the machine or of a GPU.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate"))
        (True, True)
        >>> is_out_of_memory(ValueError("out of memory is what this text is about"))
        False
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, _GENERAL) and _SAID.search(str(error)):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def killed_text(name: str, code: int) -> str:
    """Return what is said of a process that a signal killed.

    Args:
        name: What it is called.
        code: The negative of the signal, as ``subprocess`` has it.

    Example:
        >>> killed_text("fold 1/5", -15)
        'fold 1/5 was killed by signal 15 (SIGTERM)'
        >>> killed_text("fold 1/5", -9).partition(": ")[0]
        'fold 1/5 was killed by signal 9 (SIGKILL), most likely by the system for want of memory'
    """
    number = -code
    known = {one.value: one.name for one in signal.Signals}
    said = f"{name} was killed by signal {number}" + (f" ({known[number]})" if number in known else "")
    return said if number != signal.SIGKILL else f"{said}, most likely by the system for want of memory: {ADVICE}"


def available_bytes() -> int | None:
    """Return how much more memory this process may take: of the machine, its container and its limits.

    Returns:
        Bytes; None where the system does not say.
    """
    known = [_of_machine(), _of_container(), *(_of_limit(*one) for one in _LIMITS)]
    told = [size for size in known if size is not None]
    return min(told) if told else None


def reachable_bytes() -> int | None:
    """Return how large this process may become in memory: what it has and ``available_bytes``."""
    spare, now = available_bytes(), _status_bytes("VmRSS")
    return None if spare is None or now is None else spare + now


@contextlib.contextmanager
def kept_within_memory(processes: int = 1) -> Iterator[None]:
    """Let allocations fail in the block when the memory of the machine is used up, instead of being killed for it.

    What fails raises an error that can be answered; what is killed cannot even say why. Only on Linux: the soft limit
    of the private memory of this process (``RLIMIT_DATA``) is set to what it has and what is available now. A little is
    held back for when there is no more: code that is compiled for batches of another size has to lie somewhere.

    Args:
        processes: So many share what is available.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if sys.platform != "linux" or not _grant(before, processes):
        yield
        return
    _granted.append((before, processes))
    with contextlib.suppress(OSError):  # there is nothing that could be held back
        _held_back.append(mmap.mmap(-1, _HELD_BACK, mmap.MAP_PRIVATE))
    try:
        yield
    finally:
        _let_go()
        _granted.pop()
        resource.setrlimit(resource.RLIMIT_DATA, before)


def grant_again() -> None:
    """Take anew what is available, once memory ran out and was given back, with what was held back for that."""
    _let_go()
    if _granted:
        resource.setrlimit(resource.RLIMIT_DATA, _granted[-1][0])
        _grant(*_granted[-1])


def _grant(before: tuple[int, int], processes: int) -> bool:
    """Set the limit; False where the system does not say what there is."""
    spare, used = available_bytes(), _status_bytes("VmData")
    if spare is None or used is None:
        return False
    limits = [used + int(_SHARE * spare / processes), *(one for one in before if one != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), before[1]))
    return True


def _let_go() -> None:
    for pages in _held_back:
        pages.close()
    _held_back.clear()


def peak_rss_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    peak = _status_bytes("VmHWM")
    if peak is not None:  # what getrusage tells on Linux includes the process that this one was forked from
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _of_machine() -> int | None:
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text("utf-8").splitlines())
    return sum(int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree") if name in lines)


def _of_container() -> int | None:
    """What the control groups of this process have left, such as those of a container or of a job of a cluster."""
    left = [_of_group(folder, *names) for names, folder in _groups()]
    known = [size for size in left if size is not None]
    return min(known) if known else None


def _groups() -> Iterator[tuple[tuple[str, str], Path]]:
    """Each group of this process, up to the outermost that can be seen, with the names of its files."""
    listed = Path("/proc/self/cgroup")
    for line in listed.read_text("utf-8").splitlines() if listed.exists() else ():
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        names, base = _CGROUPS["memory" if kinds else ""]
        inner = base / path.lstrip("/")
        yield from ((names, folder) for folder in (inner, *inner.parents) if folder.is_relative_to(base))


def _of_group(folder: Path, limit: str, used: str) -> int | None:
    """What a group has left; files that were read count as used and can be dropped."""
    try:
        most, now = ((folder / name).read_text("utf-8").strip() for name in (limit, used))
        return None if most == "max" else max(0, int(most) - int(now) + _droppable_bytes(folder / "memory.stat"))
    except OSError:  # it has no limit, or is not seen from inside a container
        return None


def _droppable_bytes(path: Path) -> int:
    """Pages of files, used lately or not, as Linux itself counts them to what is available; those of all within."""
    facts = dict(line.split() for line in path.read_text("utf-8").splitlines())
    return sum(int(facts.get(f"total_{name}", facts.get(name, 0))) for name in ("inactive_file", "active_file"))


_LIMITS = ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData"))


def _of_limit(which: int, name: str) -> int | None:
    soft, used = resource.getrlimit(which)[0], _status_bytes(name)
    return None if soft == resource.RLIM_INFINITY or used is None else max(0, soft - used)


def _status_bytes(name: str) -> int | None:
    """A line of what Linux says of this process."""
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    lines = [line for line in path.read_text("utf-8").splitlines() if line.startswith(f"{name}:")]
    return int(lines[0].split()[1]) * 1024 if lines else None
