"""Statistics over runs against numpy on each run."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fractal_core.evidence.ragged import run_mean, run_min, run_quantile

RUNS = st.lists(st.lists(st.floats(-1, 1, width=32), max_size=6), min_size=1, max_size=6)


@given(RUNS, st.floats(0, 1), st.randoms(use_true_random=False))
def test_statistics_equal_those_of_each_run(runs, quantile, random):
    """Mean, weighted mean, minimum and quantile, in any order of the values; an empty run is NaN."""
    flat = [(value, index, 0.1 + random.random()) for index, run in enumerate(runs) for value in run]
    random.shuffle(flat)
    values, owner, weights = (np.array([item[k] for item in flat]) for k in range(3))
    owner = owner.astype(np.int64)
    mean, weighted = run_mean(values, owner, len(runs)), run_mean(values, owner, len(runs), weights)
    least, low = run_min(values, owner, len(runs)), run_quantile(values, owner, len(runs), quantile)
    for index, run in enumerate(runs):
        if not run:
            assert np.isnan([mean[index], weighted[index], least[index], low[index]]).all()
            continue
        own = [(value, weight) for value, run_index, weight in flat if run_index == index]
        np.testing.assert_allclose(mean[index], np.mean(run), atol=1e-12)
        np.testing.assert_allclose(
            weighted[index], np.average([v for v, _ in own], weights=[w for _, w in own]), atol=1e-9
        )
        assert least[index] == min(run)
        assert low[index] == sorted(run)[int(np.floor(quantile * (len(run) - 1)))]
