"""Similarity priors: cosines moved to the unit interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIMILARITY_ERROR = 1e-5
"""Bound on how far a similarity computed by FAISS in float32 is from the exact one, for vectors of length 1."""


def similarity_prior(cosine: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (1 + cos(x, u)) / 2 for sentences x and a document or query u each: P1 of the FRACTAL paper (2404.04817).

    Args:
        cosine: [N] float32 in [-1, 1], NaN where there is nothing to compare with.

    Returns:
        [N] float32 in [0, 1], NaN where `cosine` is NaN. Not calibrated: a cosine is no probability.
    """
    # Cosines of unit vectors leave [-1, 1] by rounding.
    return np.clip((1.0 + cosine.astype(np.float64)) / 2.0, 0.0, 1.0).astype(np.float32)


def cosines_of_pairs(
    vectors: NDArray[np.float32], left: NDArray[np.int64], right: NDArray[np.int64], step: int = 1024
) -> NDArray[np.float32]:
    """Return the cosines of pairs of texts, accumulated in float64 and rounded once: the same anywhere.

    Args:
        vectors: [T, D] float32 of length 1.
        left: [P] int64, rows of `vectors`.
        right: [P] int64, likewise.
        step: pairs at once.

    Returns:
        [P] float32 in [-1, 1].
    """
    result = np.empty(len(left), dtype=np.float32)
    for low in range(0, len(left), step):
        pair = slice(low, low + step)
        result[pair] = np.einsum("pd,pd->p", vectors[left[pair]], vectors[right[pair]], dtype=np.float64)
    return np.clip(result, -1.0, 1.0, out=result)
