"""One thread for sums: they then have one order on every machine, and threads that contend only spin."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

_here = threading.local()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread while the context lasts: PyTorch, and the matrix products of NumPy."""
    if getattr(_here, "inside", False):  # looking for the libraries again would take 5 ms
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _here.inside = True
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        _here.inside = False
        torch.set_num_threads(threads)
