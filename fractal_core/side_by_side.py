"""Work on several cores at once, each piece of it on one thread: no sum depends on how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """Yield the results of `work`, which spends its time in torch, in the order of the pieces.

    As many threads as torch would use (OMP_NUM_THREADS, or the cores) take a piece each, and torch uses one in each.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(work, pieces)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, pieces)
    finally:
        torch.set_num_threads(threads)  # For threads that are started later; this one had it all along.
