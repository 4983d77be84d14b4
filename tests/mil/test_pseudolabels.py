"""Pseudo-labels against the best of all labellings that agree."""

from __future__ import annotations

import math

import brute_force
import pytest
import torch
from brute_force import (
    EXTREMES,
    KINDS,
    Bags,
    labels_of,
    log_likelihood,
    operations,
    permuted,
    ragged,
    random_segments,
    tensors,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.mil.pseudolabels import agrees, most_likely
from fractal_core.mil.segments import Segments

kinds = pytest.mark.parametrize("kind", KINDS)


def assert_is_best(kind: str, bags: Bags, labels: list[float]) -> None:
    """The labelling agrees with every label and none that agrees is more likely."""
    logits, segments = tensors(bags)
    given_labels = torch.tensor(labels, dtype=torch.float64)
    chosen = most_likely(kind, logits, given_labels, segments)
    assert chosen.dtype == torch.int8
    assert agrees(kind, chosen, given_labels, segments).all()
    for bag, y, own in zip(bags, labels, brute_force.split(chosen, segments), strict=True):
        assert tuple(own.tolist()) in brute_force.labellings(kind, len(bag), y)
        best = brute_force.best_log_likelihood(kind, bag, y)
        assert log_likelihood(own.tolist(), bag) == pytest.approx(best, rel=1e-12, abs=1e-12)


@kinds
@settings(deadline=None, max_examples=60)
@given(bags=ragged(-40, 40), seed=st.integers(0, 1000))
def test_most_likely_is_the_best_labelling(kind: str, bags: Bags, seed: int) -> None:
    """No labelling that agrees with the response's label has a higher likelihood."""
    assert_is_best(kind, bags, labels_of(kind, tensors(bags)[1], seed))


@settings(deadline=None, max_examples=40)
@given(bags=ragged(-40, 40), share=st.floats(0, 1))
def test_any_share_is_rounded_half_up(bags: Bags, share: float) -> None:
    """A share that is no k / n is taken as the nearest count."""
    share = round(share, 4)  # Nearer than 1e-7 to half a count, rounding is forgiven here and not in the reference.
    assert_is_best("avg", bags, [share] * len(bags))


@kinds
def test_most_likely_at_the_extremes(kind: str) -> None:
    """Logits of +-1000 and near-equal huge ones are handled for every label."""
    for bag in EXTREMES:
        labels = [k / len(bag) for k in range(len(bag) + 1)] if kind == "avg" else [0.0, 1.0]
        assert_is_best(kind, [bag] * len(labels), labels)


@pytest.mark.parametrize(
    ("kind", "logits", "label", "expected"),
    [
        ("min", [40.0, 39.0, 41.0], 0.0, [1, 0, 1]),
        ("max", [-40.0, -39.0, -41.0], 1.0, [0, 1, 0]),
        ("avg", [40.0, 39.0, 41.0, 42.0], 0.5, [0, 0, 1, 1]),
        ("avg", [-1000.0, -999.0, -998.0], 1 / 3, [0, 0, 1]),
    ],
)
def test_saturated_probabilities_are_told_apart(
    kind: str, logits: list[float], label: float, expected: list[int]
) -> None:
    """Sentences whose probabilities all round to one number are still ranked by their logits."""
    values, segments = tensors([logits], torch.float32)
    assert len(set(torch.sigmoid(values).tolist())) == 1 or kind == "max"
    assert most_likely(kind, values, torch.tensor([label]), segments).tolist() == expected


@pytest.mark.parametrize(
    ("kind", "label", "expected"),
    [("min", 0.0, [0, 1, 1, 1]), ("max", 1.0, [1, 1, 1, 1]), ("avg", 0.5, [1, 1, 0, 0])],
)
def test_equals_go_by_position(kind: str, label: float, expected: list[int]) -> None:
    """Among equal sentences the first is flipped and the first are taken; a logit of 0 counts as 1."""
    values, segments = tensors([[0.0] * 4])
    assert most_likely(kind, values, torch.tensor([label]), segments).tolist() == expected


def test_max_flips_the_first_of_equals() -> None:
    """Among equally unlikely sentences the first carries the response."""
    values, segments = tensors([[-1.0, -1.0]])
    assert most_likely("max", values, torch.tensor([1.0]), segments).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("size", "share", "count"),
    [(2, 0.25, 1), (10, 0.15, 2), (10, 0.14, 1), (100, 0.29, 29), (3, 1 / 3, 1), (1, 0.5, 1), (1, 0.49, 0)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counts_round_half_up(size: int, share: float, count: int, dtype: torch.dtype) -> None:
    """The count n * y rounds half up, untroubled by the binary form of the share."""
    segments = Segments(torch.tensor([0, size]))
    labels = torch.tensor([share], dtype=dtype)
    chosen = most_likely("avg", torch.arange(float(size)), labels, segments)
    assert chosen.tolist() == [0] * (size - count) + [1] * count
    assert agrees("avg", chosen, labels, segments).tolist() == [True]


@kinds
def test_an_unlabelled_response_is_thresholded(kind: str) -> None:
    """A NaN label gives each sentence its own more likely label, and agrees with everything."""
    values, segments = tensors([[1.0, -1.0, 0.0, -1e-9], [3.0, 3.0]])
    labels = torch.tensor([math.nan, 1.0])
    chosen = most_likely(kind, values, labels, segments)
    assert chosen.tolist() == [1, 0, 1, 0, 1, 1]
    assert agrees(kind, 1 - chosen, labels, segments).tolist() == [True, False]


@kinds
@settings(deadline=None, max_examples=40)
@given(bags=ragged(-1, 1), seed=st.integers(0, 1000))
def test_agrees_is_membership_in_the_labellings(kind: str, bags: Bags, seed: int) -> None:
    """Any labelling agrees exactly if enumeration lists it."""
    flat, segments = tensors(bags)
    labels = labels_of(kind, segments, seed)
    guesses = torch.stack([flat > 0, flat > -2, flat > 2]).to(torch.int8)
    result = agrees(kind, guesses, torch.tensor(labels, dtype=torch.float64), segments)
    for row, guess in zip(result.tolist(), guesses, strict=True):
        cut = brute_force.split(guess, segments)
        assert row == [
            tuple(own.tolist()) in brute_force.labellings(kind, len(own), y) for own, y in zip(cut, labels, strict=True)
        ]


@kinds
def test_bags_are_independent(kind: str) -> None:
    """The order of bags and leading dimensions change nothing."""
    logits, segments = random_segments(200)
    labels = torch.tensor(labels_of(kind, segments, 5), dtype=torch.float64)
    labels[::7] = math.nan
    order = permuted(segments)
    sentences, part = segments.select(order)
    whole = most_likely(kind, logits, labels, segments)
    assert torch.equal(most_likely(kind, logits[sentences], labels[order], part), whole[sentences])
    stacked = most_likely(kind, torch.stack([-logits, logits])[None], labels, segments)
    assert torch.equal(stacked[0, 1], whole)
    assert agrees(kind, stacked, labels, segments).shape == (1, 2, 200)


@kinds
def test_ten_thousand_sentences(kind: str) -> None:
    """A long bag differs from plain thresholding only where its label demands it."""
    logits = torch.linspace(1, 2, 10_000, dtype=torch.float64).flip(0)
    segments = Segments(torch.tensor([0, 10_000]))
    label = {"min": 0.0, "max": 1.0, "avg": 0.25}[kind]
    chosen = most_likely(kind, logits, torch.tensor([label]), segments)
    ones = {"min": 9_999, "max": 10_000, "avg": 2_500}[kind]
    assert chosen.tolist() == [1] * ones + [0] * (10_000 - ones)


@pytest.mark.parametrize("function", [most_likely, agrees])
def test_bad_labels_are_refused(function: object) -> None:
    """A share is no label under min, and an unknown kind is named."""
    values, segments = tensors([[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"bag 0 has 0\.5"):
        function("min", values, torch.tensor([0.5]), segments)  # type: ignore[operator]
    with pytest.raises(ValueError, match="'mode'"):
        function("mode", values, torch.tensor([1.0]), segments)  # type: ignore[operator]


@kinds
def test_work_is_vectorised(kind: str) -> None:
    """100,000 bags take as many tensor operations as 30."""

    def count(bags: int) -> int:
        logits, segments = random_segments(bags)
        labels = torch.ones(bags)
        return operations(lambda: agrees(kind, most_likely(kind, logits, labels, segments), labels, segments))

    assert count(100_000) == count(30) < 120
