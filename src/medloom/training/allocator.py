"""Settings of the C library's allocator for training on a CPU."""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


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
