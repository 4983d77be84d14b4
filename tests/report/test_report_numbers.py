"""What a report says of responses: scores, gaps and groups, against the slow obvious way."""

from __future__ import annotations

import numpy as np
import pytest
from memory_run import memory_run, response

from fractal_core.report.gaps import leads, measure_gaps
from fractal_core.report.groups import label_groups
from fractal_core.report.numbers import read_numbers

REDUCE = {"min": min, "max": max, "avg": lambda values: sum(values) / len(values)}


def some_responses(seed, labels):
    """Return responses of one to five sentences with these labels, and their scores."""
    chance = np.random.default_rng(seed)
    found, scores = [], []
    for index, label in enumerate(labels):
        score = chance.random(chance.integers(1, 6)).tolist()
        sentences = [
            (f"S{place}.", value, float(value > 0.3), [None, 0.0, 1.0][place % 3]) for place, value in enumerate(score)
        ]
        found.append(response(f"r{index}", sentences, label))
        scores.append(score)
    return found, scores


@pytest.mark.parametrize("aggregation", ["min", "max", "avg"])
def test_scores_and_gaps_of_responses(tmp_path, aggregation):
    """Score, gap to the label, largest gap of a pseudo-label and of a gold label, response by response."""
    labels = [0.0, 1.0, None, 1.0, 0.0, 1.0]
    responses, scores = some_responses(1, labels)
    numbers = read_numbers(memory_run(tmp_path, responses, aggregation=aggregation))
    gaps = measure_gaps(numbers)
    for at, (own, label) in enumerate(zip(scores, labels, strict=True)):
        score = REDUCE[aggregation](own)
        assert numbers.aggregated[at] == pytest.approx(score)
        assert gaps.label[at] == pytest.approx(np.nan if label is None else abs(label - score), nan_ok=True)
        assert gaps.pseudolabel[at] == pytest.approx(max(abs((value > 0.3) - value) for value in own))
        gold = [(value, place % 3 - 1) for place, value in enumerate(own) if place % 3]
        wanted = max((abs(label - value) for value, label in gold), default=np.nan)
        assert gaps.gold[at] == pytest.approx(wanted, nan_ok=True)


def test_counts_are_compared_as_shares(tmp_path):
    """A label of 3 good sentences of 4 is compared with the mean score as 0.75; more than there are is all."""
    responses = [
        response("a", [("S.", 0.5)] * 4, 3.0),
        response("b", [("S.", 0.25)] * 2, 9.0),
    ]
    numbers = read_numbers(memory_run(tmp_path, responses, kind="count", aggregation="avg"))
    assert numbers.label.tolist() == [0.75, 1.0]
    assert measure_gaps(numbers).label.tolist() == [0.25, 0.75]


def test_leads_of_pairs(tmp_path):
    """The lead of the preferred one, for both of a pair; none for ties, unknown preferences and half pairs."""
    pairs = [
        ("a", 0.75, 0.25, 1.0, 0.0),
        ("b", 0.5, 0.75, 1.0, 0.0),
        ("c", 0.1, 0.9, 0.5, 0.5),
        ("d", 0.1, 0.9, None, None),
    ]
    responses = []
    for name, first, second, *preferred in pairs:
        for side, score, better in zip("ab", (first, second), preferred, strict=True):
            responses.append(response(f"{name}#{side}", [("S.", score)], pair=name, preferred=better))
    responses.append(response("e#a", [("S.", 0.5)], pair="e", preferred=1.0))
    numbers = read_numbers(memory_run(tmp_path, responses, kind="preference", aggregation="max"))
    nothing = [np.nan] * 5
    np.testing.assert_allclose(leads(numbers), [0.5, 0.5, -0.25, -0.25, *nothing])
    np.testing.assert_allclose(measure_gaps(numbers).label, [0.0, 0.0, 0.25, 0.25, *nothing])


@pytest.mark.parametrize(
    ("kind", "aggregation", "labels", "titles"),
    [
        ("binary", "min", [1.0, 0.0, None, 1.0], ["label 0", "label 1", "no label"]),
        ("ordinal", "min", [2.0, 0.0, 1.0], ["label 0", "label 1", "label 2"]),
        ("share", "avg", [n / 10 for n in range(11)], [f"label {n / 5:g} to {(n + 1) / 5:g}" for n in range(5)]),
    ],
)
def test_groups_hold_every_response_once(tmp_path, kind, aggregation, labels, titles):
    """One group a label, or five ranges of labels; every response is in one, and in the right one."""
    responses = [response(f"r{at}", [("S.", 0.5)], label) for at, label in enumerate(labels)]
    groups = label_groups(read_numbers(memory_run(tmp_path, responses, kind=kind, aggregation=aggregation)))
    assert [group.title for group in groups] == titles
    assert np.sum([group.responses for group in groups], axis=0).tolist() == [1] * len(labels)
    for group in groups:
        for at in np.flatnonzero(group.responses):
            words = group.title.split()
            low, high = (float(words[1]), float(words[-1])) if words[0] == "label" else (None, None)
            assert labels[at] is None if low is None else low <= labels[at] <= high


@pytest.mark.parametrize(
    ("kind", "aggregation", "wanted"),
    [
        ("binary", "min", (0.0, 1.0, 0.5, 0.5)),
        ("share", "avg", (0.0, 1.0, 0.25, 0.5)),
        ("ordinal", "max", (0.0, 3.0, 1.0, 1.0)),
        ("real", "avg", (-5.0, 35.0, 10.0, 10.0)),
    ],
)
def test_scales(tmp_path, kind, aggregation, wanted):
    """Probabilities are from 0 to 1, grades up to the highest, values as far as scores go."""
    responses = [response("a", [("S.", -5.0), ("S.", 35.0)], 1.0)]
    scale = read_numbers(memory_run(tmp_path, responses, kind=kind, aggregation=aggregation, grades=3)).scale
    assert (scale.low, scale.high, scale.response_apart, scale.sentence_apart) == wanted


def test_real_values_that_are_all_the_same_have_a_range(tmp_path):
    """A range of no width would be divided by."""
    scale = read_numbers(memory_run(tmp_path, [response("a", [("S.", 4.0)])], kind="real", aggregation="avg")).scale
    assert (scale.low, scale.high) == (3.5, 4.5)
