"""What labels teach: counts that fit, ranges of values, and pairs matched by their ids."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted import examples_of

from fractal_core.mil.segments import Segments
from fractal_core.mil.supervision import supervise


def responses(labels, split=None, **columns):
    """Table responses."""
    ids = [f"r{index}" for index in range(len(labels))]
    return pa.table(
        {
            "response_id": columns.pop("ids", ids),
            "label": pa.array(labels, pa.float64()),
            "split": split or ["train"] * len(labels),
            **columns,
        }
    )


def sizes(*numbers):
    """Responses of so many sentences."""
    return Segments.from_sizes(torch.tensor(numbers))


def test_a_response_is_a_unit():
    """Labels 0 and 1, shares and grades are taken as they are, null as unlabelled; splits come along."""
    table = responses([1.0, None, 0.0], ["train", "dev", "test"])
    for kind in ("binary", "share", "ordinal"):
        found = supervise(table, sizes(2, 1, 3), kind, None, pytest.fail)
        assert found.units.tolist() == [[0], [1], [2]]
        assert found.labels.dtype == torch.float64
        assert np.array_equal(found.labels.numpy(), [1.0, np.nan, 0.0], equal_nan=True)
        assert found.split.tolist() == ["train", "dev", "test"]
        assert (found.low, found.high) == (0.0, 1.0)


def test_counts_are_shares():
    """A count k of n is k / n, exactly where the count is found again from it."""
    table = responses([0.0, 1.0, 3.0, 7.0, None])
    found = supervise(table, sizes(2, 3, 3, 49, 5), "count", None, pytest.fail)
    assert found.labels.tolist()[:4] == [0.0, 1 / 3, 1.0, 7 / 49]
    assert torch.isnan(found.labels[4])


def test_impossible_counts_are_unlabelled_and_noted():
    """A count above the number of sentences is left out, and the note says how many and which is the first."""
    notes = []
    found = supervise(responses([2.0, 3.0, 9.0, None]), sizes(2, 2, 4, 1), "count", None, notes.append)
    assert np.array_equal(found.labels.numpy(), [1.0, np.nan, np.nan, np.nan], equal_nan=True)
    assert len(notes) == 1
    assert notes[0].startswith("2 responses")
    assert "first r1" in notes[0]


def test_real_values_are_shares_of_the_range_of_train():
    """The least and greatest train label are 0 and 1; labels of dev and test may lie beyond them."""
    split = ["train", "train", "dev", "train", "test", "dev", "dev"]
    table = responses([-2.0, 4.0, 8.0, 1.0, -10.0, 11.0, None], split)
    found = supervise(table, sizes(*[1] * 7), "real", None, pytest.fail)
    assert (found.low, found.high) == (-2.0, 4.0)
    assert found.labels.tolist()[:6] == pytest.approx([0.0, 1.0, 10 / 6, 0.5, -8 / 6, 13 / 6])
    assert torch.isnan(found.labels[6])


def test_unlabelled_train_responses_do_not_set_the_range():
    """Null is no value."""
    found = supervise(responses([None, 5.0, 7.0]), sizes(1, 1, 1), "real", None, pytest.fail)
    assert (found.low, found.high) == (5.0, 7.0)
    assert found.labels.tolist()[1:] == [0.0, 1.0]


def spread(extreme, count=100):
    """So many labels from 2 to 6, some of which are extreme, and splits."""
    labels = np.linspace(2.0, 6.0, count - len(extreme)).tolist()
    return [*extreme, *labels], ["train"] * count


@pytest.mark.parametrize("count", [20, 100, 101, 1000])
@pytest.mark.parametrize(("extreme", "says"), [(-1e6, "-1e+06 of response r0"), (1e9, "1e+09 of response r0")])
def test_one_extreme_label_does_not_set_the_scale(count, extreme, says):
    """The range is that of the others; the extreme label is clipped in training and said to be, and kept as given."""
    labels, split = spread([extreme], count)
    notes = []
    found = supervise(responses(labels, split), sizes(*[1] * count), "real", None, notes.append)
    assert (found.low, found.high) == (2.0, 6.0)
    assert found.labels[0] == (0.0 if extreme < 0 else 1.0)
    assert found.labels.tolist()[1:] == pytest.approx(np.linspace(0, 1, count - 1))
    assert found.given.tolist() == pytest.approx([(label - 2) / 4 for label in labels])
    (note,) = notes
    assert note.startswith(f"1 of {count:,} real labels of train and dev are far from the others")
    assert says in note
    assert "below 2 count as 2 and those above 6 as 6; mend them" in note


def test_extreme_labels_of_dev_are_clipped_and_those_of_test_kept():
    """Dev is what training is chosen by; what test says is for its own responses alone. Others may pass the range."""
    labels, split = spread([1e6, 1e6, 6.5, None], 60)
    split[:4] = ["dev", "test", "dev", "train"]
    notes = []
    found = supervise(responses(labels, split), sizes(*[1] * 60), "real", None, notes.append)
    assert (found.low, found.high) == (2.0, 6.0)
    assert found.labels.tolist()[:3] == pytest.approx([1.0, (1e6 - 2) / 4, 4.5 / 4])
    assert torch.isnan(found.labels[3])
    assert notes[0].startswith("1 of 58 real labels of train and dev")


@pytest.mark.parametrize(
    "labels",
    [
        [*range(18), 1e6],
        [0.0] * 60 + [1e6] * 2,
        [3.0] * 200 + [1.0, 5.0],
        [5.0] * 60 + [4.0] * 30 + [1.0, 1.0, 2.0],
        np.random.default_rng(0).normal(size=5000).tolist(),
        np.random.default_rng(0).exponential(size=1000).tolist(),
    ],
    ids=["few", "two values", "nearly all the same", "ratings", "normal", "exponential"],
)
def test_labels_without_extremes_range_from_the_least_to_the_greatest(labels):
    """Few labels, two values, rare ratings and long tails are not clipped."""
    found = supervise(responses(labels), sizes(*[1] * len(labels)), "real", None, pytest.fail)
    assert (found.low, found.high) == (min(labels), max(labels))
    assert found.given is None


def test_pseudo_labels_agree_with_labels_as_given():
    """Labels that training clips are whole for the answers, which do not take their noise from them."""
    labels, split = spread([1e6, None], 40)
    found = supervise(responses(labels, split), sizes(*[1] * 40), "real", None, lambda text: None)
    examples = examples_of(np.zeros((40, 1)), found.labels, [1] * 40)
    answered = found.as_given(examples)
    assert torch.equal(answered.labels.nan_to_num(-1), found.given.nan_to_num(-1))
    assert torch.nonzero(~answered.train).flatten().tolist() == [0]
    plain = supervise(responses(labels[2:]), sizes(*[1] * 38), "real", None, pytest.fail)
    assert plain.as_given(examples) is examples


def test_grades_as_values_have_the_range_of_the_grades():
    """The mean of grades is a value between 0 and the highest grade, whatever train has."""
    found = supervise(responses([1.0, 2.0, 3.5]), sizes(1, 1, 1), "real", 4, pytest.fail)
    assert (found.low, found.high) == (0.0, 4.0)
    assert found.labels.tolist() == [0.25, 0.5, 0.875]


def pairs(rows):
    """Table responses of (response_id, pair, preferred, split)."""
    ids, pair, preferred, split = zip(*rows, strict=True)
    return responses(
        [None] * len(rows), list(split), ids=list(ids), pair=list(pair), preferred=pa.array(preferred, pa.float64())
    )


def test_pairs_are_matched_by_id():
    """Sorted ids of pairs x, x#a and x#b interleave; every unit has its own two, the first that was given in front."""
    preference = {"x": 1.0, "x#a": 0.0, "x#b": 0.5, "x#a#b": None, "y": 1.0}
    split = {"x": "train", "x#a": "dev", "x#b": "test", "x#a#b": "train", "y": "train"}
    rows = []
    for pair, first in preference.items():
        for side, won in (("a", first), ("b", None if first is None else 1 - first)):
            rows.append((f"{pair}#{side}", pair, won, split[pair]))
    for ordered in (sorted(rows), rows[::-1]):
        table = pairs(ordered)
        found = supervise(table, sizes(*[1] * len(rows)), "preference", None, pytest.fail)
        ids = table.column("response_id").to_pylist()
        named = [(ids[first], ids[second]) for first, second in found.units.tolist()]
        assert sorted(named) == sorted((f"{pair}#a", f"{pair}#b") for pair in preference)
        for (first, _), label, where in zip(named, found.labels.tolist(), found.split, strict=True):
            pair = first.removesuffix("#a")
            assert label == pytest.approx(preference[pair] if preference[pair] is not None else np.nan, nan_ok=True)
            assert where == split[pair]


def test_ids_that_end_like_a_side_are_no_side():
    """A pair called p#b has sides p#b#a and p#b#b: the a of pair p#b is not the partner of anything of pair p."""
    rows = [("p#a", "p", 1.0, "train"), ("p#b", "p", 0.0, "train")]
    rows += [("p#b#a", "p#b", 0.0, "train"), ("p#b#b", "p#b", 1.0, "train")]
    found = supervise(pairs(rows), sizes(1, 1, 1, 1), "preference", None, pytest.fail)
    assert found.units.tolist() == [[0, 1], [2, 3]]
    assert found.labels.tolist() == [1.0, 0.0]
