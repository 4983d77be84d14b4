"""The hybrid prior against a slow reference: one regression at a time, nested cross-validation in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fractal_core.errors import InputError
from fractal_core.priors.hybrid import HybridSettings, hybrid_prior
from fractal_core.priors.logistic import fit_logistic

Floats = NDArray[np.float64]
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)


def sigmoid(z: Floats) -> Floats:
    """Logistic function."""
    return 1 / (1 + np.exp(-z))


def slow_fit(x: Floats, y: Floats, penalty: float) -> Floats:
    """Newton's method for one regression, bias first."""
    design = np.column_stack([np.ones(len(x)), x])
    ridge = np.diag([0.0] + [penalty] * x.shape[1])
    theta = np.zeros(design.shape[1])

    def loss(t: Floats) -> float:
        z = design @ t
        return float((np.logaddexp(0, z) - y * z).sum() + t @ ridge @ t / 2)

    for _ in range(200):
        p = sigmoid(design @ theta)
        gradient = design.T @ (p - y) + ridge @ theta
        step = np.linalg.solve(design.T @ np.diag(p * (1 - p)) @ design + ridge, gradient)
        length = 1.0
        while loss(theta - length * step) > loss(theta) + 1e-12 and length > 1e-6:
            length /= 2
        theta = theta - length * step
    return theta


def slow_hybrid(x: Floats, gold: Floats, fold: NDArray[np.int64]) -> Floats:
    """Fit, for each fold, on the others, with the penalty chosen by leaving out a second one."""
    usable = np.isfinite(gold) & (fold >= 0)

    def logits(train: NDArray[np.bool_], penalty: float) -> Floats:
        theta = slow_fit(x[train], gold[train], penalty)
        return theta[0] + x @ theta[1:]

    members = []
    for k in range(fold.max() + 1):
        totals = []
        for penalty in PENALTIES:
            total = 0.0
            for j in range(fold.max() + 1):
                test = usable & (fold == j)
                if j != k and test.any():
                    z = logits(usable & (fold != k) & (fold != j), penalty)[test]
                    total += float((np.logaddexp(0, z) - gold[test] * z).sum())
            totals.append(total)
        members.append(logits(usable & (fold != k), PENALTIES[int(np.argmin(totals))]))
    table = np.array(members)
    return np.array([table[f, i] if f >= 0 else table[:, i].mean() for i, f in enumerate(fold)])


def make(
    seed: int, rows: int = 120, folds: int = 4, known: float = 0.6, strength: float = 1.5
) -> tuple[NDArray[np.float32], Floats, NDArray[np.int64], Floats]:
    """Return features, gold (some NaN), folds (some -1) and the truth, with the first two features informative."""
    chance = np.random.default_rng(seed)
    features = chance.normal(size=(rows, 5)).astype(np.float32)
    features[:, 4] = 0.0  # a feature that is not used
    truth = (chance.random(rows) < sigmoid(strength * (features[:, 0] - features[:, 1]))).astype(float)
    gold = np.where(chance.random(rows) < known, truth, np.nan)
    return features, gold, chance.integers(-1, folds, rows), truth


@pytest.mark.parametrize("seed", range(4))
def test_matches_one_regression_at_a_time(seed: int) -> None:
    """Log-odds of every sentence are those of nested cross-validation in plain loops."""
    features, gold, fold, _ = make(seed)
    fast = hybrid_prior(features, gold, fold, HybridSettings(PENALTIES))
    np.testing.assert_allclose(fast, slow_hybrid(features.astype(float), gold, fold), rtol=1e-6, atol=1e-8)


def test_shares_and_a_fold_without_gold_match_too() -> None:
    """Gold labels between 0 and 1 count as shares; the member of a fold without gold learns from all gold."""
    features, gold, fold, _ = make(7)
    gold = np.where(np.isnan(gold), np.nan, np.clip(gold, 0.1, 0.75))
    gold[fold == 2] = np.nan
    fast = hybrid_prior(features, gold, fold, HybridSettings(PENALTIES))
    np.testing.assert_allclose(fast, slow_hybrid(features.astype(float), gold, fold), rtol=1e-6, atol=1e-8)


@given(seed=st.integers(0, 2**32 - 1), penalty=st.sampled_from([0.1, 3.0, 1000.0]), scale=st.sampled_from([0.1, 1, 30]))
@settings(max_examples=25)
def test_gradient_vanishes(seed: int, penalty: float, scale: float) -> None:
    """The fit is the minimum, however badly the features are scaled: the gradient of a convex loss is 0 there."""
    chance = np.random.default_rng(seed)
    design = np.column_stack([np.ones(40), scale * chance.normal(size=(40, 6))])
    labels = (design[:, 1] + chance.normal(size=40) > 0).astype(float)
    labels[:4], folds = [0, 1, 0, 1], np.arange(40) % 2
    use = np.array([[1.0, 1.0], [1.0, 0.0]])
    theta = fit_logistic(design, labels, folds, use, np.array([penalty, penalty]))
    for weights, member in zip(theta, use, strict=True):
        weight = member[folds]
        gradient = design.T @ (weight * (sigmoid(design @ weights) - labels))
        gradient[1:] += penalty * weights[1:]
        assert np.abs(gradient).max() < 1e-6 * np.abs(design).sum()


def test_own_gold_never_enters_own_prior() -> None:
    """Turning round half the gold labels of a fold changes every other fold's prior, and not one bit of its own."""
    features, gold, fold, _ = make(1, rows=300)
    before = hybrid_prior(features, gold, fold, HybridSettings())
    turned = np.where((fold == 1) & (np.arange(300) % 2 == 0), 1 - gold, gold)
    after = hybrid_prior(features, turned, fold, HybridSettings())
    assert np.isfinite(after).all()
    np.testing.assert_array_equal(after[fold == 1], before[fold == 1])
    assert (after[fold != 1] != before[fold != 1]).all()


def test_gold_outside_training_is_not_used() -> None:
    """Gold labels of dev and test sentences (fold -1) change nothing."""
    features, gold, fold, truth = make(2)
    without = hybrid_prior(features, np.where(fold < 0, np.nan, gold), fold, HybridSettings())
    np.testing.assert_array_equal(
        hybrid_prior(features, np.where(fold < 0, 1 - truth, gold), fold, HybridSettings()), without
    )


def test_ten_per_cent_gold_is_a_good_prior() -> None:
    """60 of 600 gold labels rank the other sentences nearly as well as the truth's own rule, and are calibrated."""
    features, gold, fold, truth = make(3, rows=600, known=0.1, strength=2.0)
    notes: list[str] = []
    prior = hybrid_prior(features, gold, fold, HybridSettings(), notes.append)
    unseen = np.isnan(gold)

    def auc(score: Floats) -> float:
        return float((score[unseen & (truth == 1)][:, None] > score[unseen & (truth == 0)]).mean())

    rule = (features[:, 0] - features[:, 1]).astype(float)
    assert auc(prior) > auc(rule) - 0.03
    assert abs(sigmoid(prior)[unseen].mean() - truth[unseen].mean()) < 0.1
    assert len(notes) == 1
    assert f"hybrid prior from {np.isfinite(gold[fold >= 0]).sum()} gold sentence labels" in notes[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda gold, fold: np.full_like(gold, np.nan), "there are 0 gold"),
        (lambda gold, fold: np.where(np.cumsum(np.isfinite(gold) & (fold >= 0)) < 20, gold, np.nan), "there are 19"),
        (lambda gold, fold: np.where(np.isfinite(gold), 1.0, np.nan), "all the same"),
        (lambda gold, fold: np.where(fold == 0, gold, np.where(np.isfinite(gold), 1.0, np.nan)), "all the same"),
        (lambda gold, fold: np.where(fold == 0, gold, np.nan), "all the same"),
    ],
    ids=["none", "19", "one class", "one class but for one fold", "one fold"],
)
def test_too_little_gold_gives_no_prior(change, reason) -> None:
    """Too few gold labels, or of one class once a fold is left out: all NaN, and the note says which."""
    features, gold, fold, _ = make(4, rows=300)
    notes: list[str] = []
    prior = hybrid_prior(features, change(gold, fold), fold, HybridSettings(), notes.append)
    assert np.isnan(prior).all()
    assert len(notes) == 1
    assert notes[0].startswith("no hybrid prior")
    assert reason in notes[0]


def test_features_that_say_nothing_give_no_prior() -> None:
    """Where held-out gold is predicted no better than by its mean, there is no prior."""
    features, gold, fold, _ = make(5, strength=0.0)
    notes: list[str] = []
    assert np.isnan(hybrid_prior(features, gold, fold, HybridSettings((0.001,)), notes.append)).all()
    assert "no better than by their mean" in notes[0]


def test_gold_in_two_folds_takes_the_middle_penalty() -> None:
    """With no third fold to choose by, both members have the middle penalty."""
    features, gold, fold, _ = make(6)
    gold[fold > 1] = np.nan
    prior = hybrid_prior(features, gold, fold, HybridSettings(PENALTIES))
    train = np.isfinite(gold) & (fold == 1)
    theta = slow_fit(features[train].astype(float), gold[train], 10.0)
    np.testing.assert_allclose(prior[fold == 0], (theta[0] + features @ theta[1:])[fold == 0], rtol=1e-6, atol=1e-8)


def test_grades_are_refused() -> None:
    """A gold label outside 0..1 is an error that says what to do: grades must be scaled first."""
    features, gold, fold, _ = make(8)
    gold[np.flatnonzero(np.isfinite(gold) & (fold >= 0))[0]] = 3.0
    with pytest.raises(InputError, match=r"^1 of \d+ gold .* the first being 3: scale them"):
        hybrid_prior(features, gold, fold, HybridSettings())


def test_same_input_same_bytes() -> None:
    """Two calls agree in every bit."""
    features, gold, fold, _ = make(9, rows=3000)
    first, second = (hybrid_prior(features, gold, fold, HybridSettings()) for _ in range(2))
    assert first.tobytes() == second.tobytes()
