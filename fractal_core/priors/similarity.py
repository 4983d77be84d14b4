"""Similarity priors: cosines moved to the unit interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def similarity_prior(cosine: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (1 + cos(x, u)) / 2 for sentences x and a document or query u each: P1 of the FRACTAL paper (2404.04817).

    Args:
        cosine: [N] float32 in [-1, 1], NaN where there is nothing to compare with.

    Returns:
        [N] float32 in [0, 1], NaN where `cosine` is NaN. Not calibrated: a cosine is no probability.
    """
    # Cosines of unit vectors leave [-1, 1] by rounding.
    return np.clip((1.0 + cosine.astype(np.float64)) / 2.0, 0.0, 1.0).astype(np.float32)
