"""Memory that a step has given back stays with the process: the C library's allocator, told once."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Whether glibc was told so; other C libraries stay as they are.

    glibc gets each block above 32 MiB from the kernel anew, which fills it with zeros page by page: the activations of
    96 frames are larger, and writing one took three times as long as it does into memory that is kept.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))
