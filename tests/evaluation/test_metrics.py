"""Metrics against slow, obvious references: counting pairs, walking down thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.evaluation.metrics import accuracy, auc_pr, auc_roc, best_thresholds, ece, f1, log_loss, mae
from fractal_core.evaluation.reliability import tenths

# Few distinct scores, so that ties are common.
samples = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.7, 1.0])), min_size=1, max_size=30
).map(lambda rows: (np.array([row[0] for row in rows], dtype=np.float64), np.array([row[1] for row in rows])))


def pairs_won(gold: np.ndarray, scores: np.ndarray) -> float:
    """Count the pairs of a positive and a negative in the right order, ties as one half."""
    won = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, y in zip(scores, gold, strict=True)
        if y == 1
        for b, z in zip(scores, gold, strict=True)
        if z == 0
    ]
    return sum(won) / len(won) if won else math.nan


def average_precision(gold: np.ndarray, scores: np.ndarray) -> float:
    """Lower the threshold from score to score; weight each precision by the recall gained."""
    positives = gold.sum()
    if positives == 0:
        return math.nan
    total = recall = 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        taken = gold[scores >= threshold]
        total += (taken.sum() / positives - recall) * taken.mean()
        recall = taken.sum() / positives
    return total


@settings(max_examples=300)
@given(samples)
def test_auc_roc_counts_pairs(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """AUC-ROC is the share of pairs won, and NaN exactly where there are no pairs."""
    assert auc_roc(*sample) == pytest.approx(pairs_won(*sample), abs=1e-12, nan_ok=True)


@settings(max_examples=300)
@given(samples)
def test_auc_pr_walks_thresholds(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Average precision is the sum over thresholds, and NaN exactly where there are no positives."""
    assert auc_pr(*sample) == pytest.approx(average_precision(*sample), abs=1e-12, nan_ok=True)


@given(samples, st.randoms(use_true_random=False))
def test_order_of_rows_and_scale_do_not_matter(sample: tuple[np.ndarray, np.ndarray], random: object) -> None:
    """Shuffled rows and scores under an increasing function give the same ranking figures."""
    gold, scores = sample
    order = list(range(len(gold)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for metric in (auc_roc, auc_pr):
        same = metric(gold[order], np.exp(3 * scores[order]) - 7)
        assert same == pytest.approx(metric(gold, scores), abs=1e-12, nan_ok=True)


@given(samples)
def test_reversed_scores_mirror_auc_roc(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Turning the order round turns the AUC round."""
    gold, scores = sample
    assert auc_roc(gold, -scores) == pytest.approx(1 - auc_roc(gold, scores), abs=1e-12, nan_ok=True)


def test_large_samples_do_not_overflow() -> None:
    """With 200,000 rows of each class the product of counts exceeds 32 bits."""
    gold = np.repeat([0, 1], 200_000).astype(np.int32)
    scores = np.arange(400_000, dtype=np.float32)
    assert auc_roc(gold, scores) == 1.0


@given(samples)
def test_accuracy_mae_and_log_loss_by_hand(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Each is the mean of one number a row; a probability of 0 or 1 costs a finite amount when wrong."""
    gold, scores = sample
    rows = list(zip(gold.tolist(), scores.tolist(), strict=True))
    assert accuracy(gold, scores) == pytest.approx(np.mean([(s >= 0.5) == (g == 1) for g, s in rows]))
    assert mae(gold, scores) == pytest.approx(np.mean([abs(g - s) for g, s in rows]))
    clipped = [(g, min(max(s, 1e-7), 1 - 1e-7)) for g, s in rows]
    expected = np.mean([-math.log(s if g == 1 else 1 - s) for g, s in clipped])
    assert log_loss(gold, scores) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("metric", [auc_roc, auc_pr, accuracy, mae, log_loss, ece])
def test_no_rows_is_undefined(metric: object) -> None:
    """Without rows every figure is NaN, and nothing warns."""
    assert math.isnan(metric(np.zeros(0), np.zeros(0)))  # type: ignore[operator]


def test_log_loss_of_a_share_is_cross_entropy() -> None:
    """For a gold share of one quarter the best constant probability is one quarter."""
    losses = {p: log_loss(np.array([0.25]), np.array([p])) for p in (0.2, 0.25, 0.3)}
    assert min(losses, key=losses.__getitem__) == 0.25


def calibration_error(gold: np.ndarray, scores: np.ndarray, bins: int) -> float:
    """Fill the bins row by row, each row with the mean gold label of its score; average the gaps by mass."""
    rows = sorted((s, float(gold[scores == s].mean())) for s in scores.tolist())
    filled: dict[int, list[tuple[float, float]]] = {}
    for place, row in enumerate(rows):
        filled.setdefault(place * bins // len(rows), []).append(row)
    gaps = [
        len(inside) / len(rows) * abs(np.mean([g for _, g in inside]) - np.mean([s for s, _ in inside]))
        for inside in filled.values()
    ]
    return float(sum(gaps))


@settings(max_examples=300)
@given(samples, st.integers(1, 20))
def test_ece_fills_bins(sample: tuple[np.ndarray, np.ndarray], bins: int) -> None:
    """The calibration error is the mean gap of bins of equal mass, and the order of the rows does not matter."""
    gold, scores = sample
    assert ece(gold, scores, bins) == pytest.approx(calibration_error(gold, scores, bins), abs=1e-12)
    assert ece(gold[::-1], scores[::-1], bins) == pytest.approx(ece(gold, scores, bins), abs=1e-12)


def test_ece_of_known_forecasts() -> None:
    """Labels drawn with their own probability are calibrated; sure forecasts that are wrong are not at all."""
    random = np.random.default_rng(8)
    scores = random.random(200_000)
    assert ece((random.random(200_000) < scores).astype(float), scores) < 0.01
    assert ece(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == 1.0
    assert ece(np.array([1.0, 0.0, 1.0, 0.0]), np.full(4, 0.5)) == 0.0
    # Bins of equal mass, and not of equal width: low scores fill both bins.
    assert ece(np.repeat([0.0, 1.0], 15), np.repeat([0.03, 0.05], 15), 2) == pytest.approx((0.03 + 0.95) / 2)


@given(samples)
def test_best_thresholds_are_best(sample) -> None:
    """No score as threshold has a larger F1 or accuracy, and F1 is that of precision and recall."""
    gold, scores = sample
    best = best_thresholds(gold, scores)
    if gold.min() == gold.max():
        assert best == {}
        return
    right = {threshold: np.mean([(s >= threshold) == (g == 1) for g, s in zip(gold, scores, strict=True)])
             for threshold in scores}  # fmt: skip
    assert best["accuracy"] == max(threshold for threshold in right if right[threshold] == max(right.values()))
    assert accuracy(gold, scores, best["accuracy"]) == pytest.approx(max(right.values()))
    found = best["f1"]
    assert f1(gold, scores, found) == max(f1(gold, scores, threshold) for threshold in scores)
    said = scores >= found
    precision, recall = gold[said].mean(), said[gold == 1].mean()
    expected = 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)
    assert f1(gold, scores, found) == pytest.approx(expected)


def test_f1_of_nothing() -> None:
    """Without a positive and without one taken for it there is no F1."""
    assert math.isnan(f1(np.zeros(2), np.zeros(2), 0.5))
    assert f1(np.zeros(2), np.ones(2), 0.5) == 0.0


def test_tenths_do_not_depend_on_the_order_of_equal_scores() -> None:
    """Sentences of one score share their gold labels."""
    gold = np.repeat([1.0, 0.0], 10)
    for order in (np.arange(20), np.random.default_rng(0).permutation(20)):
        assert {tenth.gold for tenth in tenths(np.full(20, 0.5), gold[order])} == {0.5}
