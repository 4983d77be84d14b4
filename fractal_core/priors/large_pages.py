"""Large pages of memory, where Linux has them: for what is read here and there, and waits for its addresses."""

from __future__ import annotations

import ctypes
import mmap
import sys

PAGE = 2 << 20
"""Of a large page, bytes: on x86-64, and on ARM with usual ones of 4 kB."""
_COLLAPSE = 25
"""MADV_COLLAPSE, Linux 6.1: at once what MADV_HUGEPAGE leaves for later; an older kernel refuses it."""


def in_large_pages(address: int, size: int) -> None:
    """Ask for large pages under some memory; what is there stays, and nothing happens where they cannot be had.

    Args:
        address: of private memory of this process.
        size: bytes of it; only whole large pages are changed.
    """
    if sys.platform != "linux":
        return
    first, end = -(-address // PAGE) * PAGE, (address + size) // PAGE * PAGE
    if first >= end:
        return
    advise = ctypes.CDLL(None).madvise
    for advice in (mmap.MADV_HUGEPAGE, _COLLAPSE):
        advise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), advice)
