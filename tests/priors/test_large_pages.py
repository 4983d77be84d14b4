"""Large pages, on a Linux that has them."""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from fractal_core.priors.large_pages import PAGE, in_large_pages


def large_kilobytes(address: int) -> int:
    """Return how much of the mapping with an address is in large pages."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if span := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(span[1], 16) <= address < int(span[2], 16)
        elif inside and line.startswith("AnonHugePages:"):
            return int(line.split()[1])
    raise AssertionError(address)


def collapses() -> bool:
    """Return whether this system moves memory into large pages at once."""
    if sys.platform != "linux":
        return False
    mapped = mmap.mmap(-1, 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held = np.frombuffer(mapped, dtype=np.uint8)
    held[:] = 1
    first = -(-held.ctypes.data // PAGE) * PAGE
    return ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(PAGE), 25) == 0


@pytest.mark.skipif(not collapses(), reason="this system has no MADV_COLLAPSE (Linux 6.1) or other pages")
def test_memory_moves_into_large_pages() -> None:
    """Bytes that lie in small pages are in large ones afterwards, the same; what is less than a page is left alone."""
    mapped = mmap.mmap(-1, 6 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    mapped.madvise(mmap.MADV_NOHUGEPAGE)
    held = np.frombuffer(mapped, dtype=np.uint8)
    held[:] = np.arange(len(held)) % 251
    middle = held.ctypes.data + 3 * PAGE
    in_large_pages(held.ctypes.data + 1, PAGE // 2)
    assert large_kilobytes(middle) == 0
    in_large_pages(held.ctypes.data, len(held))
    assert large_kilobytes(middle) >= PAGE // 1024
    np.testing.assert_array_equal(held, np.arange(len(held)) % 251)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the same numbers of advice mean something else, none is given."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", None)
    in_large_pages(0, 8 * PAGE)
