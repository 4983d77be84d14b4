"""A prior alone."""

from __future__ import annotations

import numpy as np

from fractal_core.evaluation.baselines.prior_alone import prior_alone


def test_a_prior_keeps_its_order():
    """A bare prior ranks as its values do; a sentence without one is in the middle."""
    values = np.array([0.3, np.nan, -2.0, 5.0, 0.1])
    scored = prior_alone(values).probability.numpy()
    known = ~np.isnan(values)
    assert np.array_equal(np.argsort(scored[known]), np.argsort(values[known]))
    assert scored[1] == 0.5
    assert (prior_alone(np.full(3, np.nan)).probability == 0.5).all()
