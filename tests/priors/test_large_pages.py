"""Large pages, on a Linux that has them."""

from __future__ import annotations

import mmap
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from fractal_core.priors.large_pages import PAGE, in_large_pages

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def large_kilobytes(address: int) -> int:
    """Return how much of the mapping with an address is in large pages."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if span := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(span[1], 16) <= address < int(span[2], 16)
        elif inside and line.startswith("AnonHugePages:"):
            return int(line.split()[1])
    raise AssertionError(address)


@pytest.mark.skipif(
    not ENABLED.exists() or "[never]" in ENABLED.read_text(), reason="this system gives nobody large pages"
)
def test_memory_moves_into_large_pages() -> None:
    """Bytes that lie in small pages are in large ones afterwards, the same; what is less than a page is left alone."""
    mapped = mmap.mmap(-1, 6 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held = np.frombuffer(mapped, dtype=np.uint8)
    held[:] = np.arange(len(held)) % 251
    middle = held.ctypes.data + 3 * PAGE
    in_large_pages(held.ctypes.data + 1, PAGE // 2)
    in_large_pages(held.ctypes.data, len(held))
    assert large_kilobytes(middle) >= PAGE // 1024
    np.testing.assert_array_equal(held, np.arange(len(held)) % 251)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the same numbers of advice mean something else, none is given."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", None)
    in_large_pages(0, 8 * PAGE)
