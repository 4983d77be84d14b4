"""Bootstrap intervals: weighted figures are those of rows that are there so often, and intervals are honest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractal_core.evaluation import intervals, metrics
from fractal_core.evaluation.intervals import interval

ERROR = intervals.mean_of(lambda gold, values: np.abs(gold - values))
MEASURES = {
    "auc_roc": (intervals.auc_roc, metrics.auc_roc),
    "auc_pr": (intervals.auc_pr, metrics.auc_pr),
    "mae": (ERROR, metrics.mae),
    "f1": (intervals.f1_at(0.5), lambda gold, values: metrics.f1(gold, values, 0.5)),
}
rows = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.7, 1.0]), st.integers(0, 3)),
    min_size=1,
    max_size=30,
)


@pytest.mark.parametrize("name", MEASURES)
@given(rows=rows)
def test_weights_are_copies(name, rows):
    """A figure under whole weights is the figure of rows repeated so often, ties included; undefined where that is."""
    weighted, plain = MEASURES[name]
    gold, values, often = np.array(sorted(rows, key=lambda row: row[1]), dtype=np.float64).T
    (found,) = weighted(often[None], gold, values)
    copies = often.astype(int)
    expected = plain(gold.repeat(copies), values.repeat(copies)) if copies.sum() else np.nan
    assert found == pytest.approx(expected, nan_ok=True)


def test_calibration_without_ties_or_weights_is_that_of_the_metric():
    """With every row once, and as many rows as fill the bins evenly, both are the same."""
    random = np.random.default_rng(0)
    values = np.sort(random.random(150))
    gold = (random.random(150) < values**2).astype(np.float64)
    (found,) = intervals.ece(np.ones((1, 150)), gold, values)
    assert found == pytest.approx(metrics.ece(gold, values))


def slow_interval(measure, gold, values, owner, draws=1000):
    """Resample responses one draw at a time, by copying their rows."""
    distinct = np.unique(owner)
    generator = np.random.default_rng(0)
    chosen = generator.integers(0, len(distinct), size=(draws, len(distinct)))
    figures = []
    for draw in chosen:
        rows = np.concatenate([np.flatnonzero(owner == distinct[number]) for number in draw])
        figures.append(measure(gold[rows], values[rows]))
    return np.nanquantile(figures, [0.025, 0.975])


def test_interval_equals_a_loop_over_draws():
    """Ragged responses in any row order are resampled whole, and always in the same way."""
    random = np.random.default_rng(5)
    owner = random.integers(10, 19, size=60)
    gold, values = random.integers(0, 2, size=60).astype(np.float64), random.integers(0, 9, 60) / 8
    for weighted, plain in MEASURES.values():
        found = interval(weighted, gold, values, owner)
        assert found == pytest.approx(slow_interval(plain, gold, values, owner))
        assert found == interval(weighted, gold, values, owner)


def test_interval_of_a_calibration_error_is_around_it():
    """Draws have more noise than the rows, and so a larger error; the interval has the figure in it all the same."""
    random = np.random.default_rng(9)
    for size in (30, 120, 500):
        values = random.random(size)
        gold = (random.random(size) < values).astype(np.float64)
        error, owner = metrics.ece(gold, values), np.arange(size) // 3
        low, high = interval(intervals.ece, gold, values, owner, around=error)
        assert 0.0 <= low < error < high
        above, _ = interval(intervals.ece, gold, values, owner)
        assert low < above


def test_copies_within_a_response_add_no_certainty():
    """The interval of dependent sentences is that of one sentence a response."""
    random = np.random.default_rng(6)
    gold, values = random.integers(0, 2, size=80).astype(np.float64), random.random(80)
    single = interval(ERROR, gold, values, np.arange(80), 300)
    assert interval(ERROR, gold.repeat(9), values.repeat(9), np.arange(80).repeat(9), 300) == pytest.approx(single)


def test_interval_covers_the_truth():
    """Of 100 intervals at 95 % for the mean of known noise, between 87 and 99 hold the true value."""
    random = np.random.default_rng(7)
    held = 0
    for _ in range(100):
        error = np.repeat(random.exponential(1.0, size=60), 2)
        low, high = interval(ERROR, np.zeros(120), error, np.arange(120) // 2, 400)
        held += low <= 1.0 <= high
    assert 87 <= held <= 99


def test_draws_without_a_figure_are_left_out():
    """Draws with one class are skipped; if all are, or there is one response, or no row, there is no interval."""
    gold, values = np.array([1.0, 0.0, 0.0]), np.array([0.9, 0.2, 0.3])
    assert interval(intervals.auc_roc, gold, values, np.arange(3)) == (1.0, 1.0)
    assert interval(intervals.auc_roc, gold, values, np.zeros(3, dtype=int)) == (None, None)
    for size in (0, 3):
        empty = np.zeros(size)
        assert interval(intervals.auc_roc, empty, empty, np.arange(size)) == (None, None)


def test_many_rows_have_fewer_draws():
    """The work is bounded; the interval of 50,000 rows is still about that of theory."""
    random = np.random.default_rng(8)
    error = random.exponential(1.0, size=50_000)
    low, high = interval(ERROR, np.zeros(50_000), error, np.arange(50_000))
    assert (high - low) / (2 * 1.96 / np.sqrt(50_000)) == pytest.approx(1, abs=0.3)
