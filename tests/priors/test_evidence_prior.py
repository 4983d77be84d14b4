"""The evidence prior against a slow reference, one row and one feature at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.errors import StoreError
from fractal_core.evidence.catalogue import Feature
from fractal_core.priors import evidence_prior
from fractal_core.priors.evidence_prior import EvidenceStandardiser, feature_matrix

NAMES = ("supports", "contradicts", "unknown", "more")
SIGNS = (1, -1, 0, 1)


@pytest.fixture(autouse=True, scope="module")
def catalogue() -> Iterator[None]:
    """Put four features of known sign in place of the catalogue."""
    features = tuple(Feature(name, "A feature.", sign, "context") for name, sign in zip(NAMES, SIGNS, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence_prior, "FEATURES", features)
        yield


def reference(features: np.ndarray, train: np.ndarray) -> list[float | None]:
    """Compute the prior one number at a time."""
    kept = {}
    for column in range(features.shape[1]):
        known = [float(v) for v, t in zip(features[:, column], train, strict=True) if t and not np.isnan(v)]
        if SIGNS[column] and known and max(known) > min(known):
            mean = sum(known) / len(known)
            kept[column] = mean, (sum((v - mean) ** 2 for v in known) / len(known)) ** 0.5
    prior: list[float | None] = []
    for row in features:
        scores = []
        for column, (mean, scale) in kept.items():
            if not np.isnan(row[column]):
                scores.append(SIGNS[column] * max(-4.0, min(4.0, (float(row[column]) - mean) / scale)))
        prior.append(sum(scores) / len(scores) if scores else None)
    return prior


cell = st.one_of(st.just(np.nan), st.integers(-20, 20).map(float))


@settings(max_examples=150)
@given(st.lists(st.tuples(cell, cell, cell, cell, st.booleans()), min_size=1, max_size=12))
def test_equals_reference(rows: list[tuple[float, float, float, float, bool]]) -> None:
    """Nulls, constants, features without a sign and rows outside train are treated as the reference treats them."""
    features = np.array([row[:4] for row in rows], dtype=np.float32)
    train = np.array([row[4] for row in rows])
    prior = EvidenceStandardiser.fit(features, NAMES, train).apply(features)
    expected = [np.nan if value is None else value for value in reference(features, train)]
    np.testing.assert_allclose(prior, expected, rtol=1e-5, atol=1e-6)


def test_rows_outside_train_do_not_shape_it() -> None:
    """Means and scales come from the given rows alone, named by mask or by index."""
    features = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    train = np.arange(50) < 30
    other = features.copy()
    other[30:] = 1000.0
    first, second = (EvidenceStandardiser.fit(values, NAMES, train) for values in (features, other))
    by_index = EvidenceStandardiser.fit(features, NAMES, np.flatnonzero(train))
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, second.arrays()[name])
        np.testing.assert_array_equal(array, by_index.arrays()[name])


def test_extreme_values_are_clipped() -> None:
    """One wild value moves a feature by no more than four standard deviations."""
    features = np.zeros((100, 4), dtype=np.float32)
    features[:50, 0] = 1.0
    standardiser = EvidenceStandardiser.fit(features, NAMES, np.arange(100))
    wild = np.full((1, 4), 1e9, dtype=np.float32)
    assert standardiser.standardise(wild)[0].tolist() == [4.0, 0.0, 0.0, 0.0]
    assert standardiser.apply(wild).tolist() == [4.0]


def test_rounding_noise_is_constant() -> None:
    """A feature that differs only in the last bits of float32 is left out, not blown up."""
    features = np.ones((10, 4), dtype=np.float32)
    features[0, 0] = np.nextafter(np.float32(1), np.float32(2))
    standardiser = EvidenceStandardiser.fit(features, NAMES, np.arange(10))
    assert not standardiser.used.any()
    assert np.isnan(standardiser.apply(features)).all()


def test_standardise_is_zero_for_nulls_and_keeps_features_without_sign() -> None:
    """The head gets unsigned z-scores of every feature that varies, with 0 for a null."""
    features = np.array([[np.nan, 1, 1, 5], [3, 2, 3, 5], [5, 3, 5, 5]], dtype=np.float32)
    scores = EvidenceStandardiser.fit(features, NAMES, np.arange(3)).standardise(features)
    expected = [[0, -1.2247449, -1.2247449, 0], [-1, 0, 0, 0], [1, 1.2247449, 1.2247449, 0]]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert scores.dtype == np.float32


def test_arrays_round_trip() -> None:
    """A standardiser rebuilt from its arrays gives the same prior, bit for bit."""
    features = np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)
    first = EvidenceStandardiser.fit(features, NAMES, np.arange(40))
    second = EvidenceStandardiser.from_arrays(first.arrays())
    assert first.apply(features).tobytes() == second.apply(features).tobytes()


def test_unknown_feature_is_an_error() -> None:
    """A column that the catalogue does not know is named."""
    with pytest.raises(StoreError, match="'mystery'"):
        EvidenceStandardiser.fit(np.zeros((2, 1), dtype=np.float32), ["mystery"], np.arange(2))


def test_feature_matrix_has_nan_for_null() -> None:
    """Columns come in the order asked for, nulls as NaN."""
    table = pa.table({"a": pa.array([1.0, None], pa.float32()), "b": pa.array([2.0, 3.0], pa.float32())})
    np.testing.assert_array_equal(feature_matrix(table, ["b", "a"]), np.array([[2, 1], [3, np.nan]], np.float32))
