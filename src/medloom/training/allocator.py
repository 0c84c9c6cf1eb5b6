"""Settings of the C library's allocator for training on a CPU."""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_freed_memory", "return_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_LARGE, _MAPPED = 2**20, 65536


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next step instead of giving it back to the kernel.

    Feature maps of several megabytes are allocated and freed in every step; by default each of them is mapped
    anew and its pages are zeroed by the kernel again. Works for the whole process and cannot be undone.

    Returns:
        Whether it was set; False where the C library is not glibc.

    Source: mallopt(3) of the Linux manual.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))


def return_freed_memory() -> None:
    """Undo ``keep_freed_memory`` for what is allocated from now on, and give back what is free: memory is short.

    Feature maps are then mapped one by one, which is slower, and leave no gaps in a heap that nothing else can use.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    for key, value in ((_M_MMAP_THRESHOLD, _LARGE), (_M_MMAP_MAX, _MAPPED), (_M_TRIM_THRESHOLD, _LARGE)):
        library.mallopt(key, value)
    library.malloc_trim(0)
