"""The similarity prior."""

from __future__ import annotations

import numpy as np

from fractal_core.priors.similarity import similarity_prior


def test_moves_cosines_to_the_unit_interval() -> None:
    """-1 becomes 0, 0 one half, 1 becomes 1; nothing to compare with stays NaN; rounding cannot leave [0, 1]."""
    cosine = np.array([-1.0, 0.0, 0.5, 1.0, np.nan, 1.0000002, -1.0000002], dtype=np.float32)
    np.testing.assert_array_equal(similarity_prior(cosine), np.array([0, 0.5, 0.75, 1, np.nan, 1, 0], np.float32))
