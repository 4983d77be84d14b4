"""Exact search for the nearest vectors by inner product with PyTorch, for a GPU that FAISS cannot use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.priors.nearest import Found, Nearest

QUERIES_AT_ONCE = 4_096
VECTORS_AT_ONCE = 65_536
"""A tile of similarities is QUERIES_AT_ONCE x VECTORS_AT_ONCE x 4 bytes: 1 GiB."""


def tiled_search(vectors: NDArray[np.float32], device: str) -> Nearest:
    """Return a search among vectors that are kept on a device.

    Args:
        vectors: [T, D] float32, at least one.
        device: of PyTorch, "cuda" or "cpu".

    Returns:
        A search; equal products come in no order.
    """
    import torch

    # Of a memory-mapped array, which may not be written to, PyTorch would warn.
    held = torch.from_numpy(np.array(vectors)).to(device)
    tiles = [(start, held[start : start + VECTORS_AT_ONCE]) for start in range(0, len(vectors), VECTORS_AT_ONCE)]

    def search(queries: NDArray[np.float32], count: int) -> Found:
        products = np.full((len(queries), count), -np.inf, dtype=np.float32)
        numbers = np.full((len(queries), count), -1, dtype=np.int64)
        many = min(count, len(vectors))
        for low in range(0, len(queries), QUERIES_AT_ONCE):
            block = torch.from_numpy(np.ascontiguousarray(queries[low : low + QUERIES_AT_ONCE])).to(device)
            best, which = (
                block.new_empty((len(block), 0)),
                torch.empty((len(block), 0), dtype=torch.long, device=device),
            )
            for start, tile in tiles:
                near = torch.topk(block @ tile.T, min(many, len(tile)), dim=1)
                best = torch.cat((best, near.values), dim=1)
                which = torch.cat((which, near.indices + start), dim=1)
                kept = torch.topk(best, min(many, best.shape[1]), dim=1)
                best, which = kept.values, which.gather(1, kept.indices)
            rows = slice(low, low + len(block))
            products[rows, :many], numbers[rows, :many] = best.cpu().numpy(), which.cpu().numpy()
        return products, numbers

    return search
